PRAGMA application_id = 1162956879;
PRAGMA user_version = 0;
BEGIN TRANSACTION;
CREATE TABLE equipoise_cursors (
    collector    text PRIMARY KEY,
    position     bigint NOT NULL,
    event_id     text,
    acknowledged double precision,
    delivered    bigint NOT NULL,
    refused      bigint NOT NULL,
    replayed     bigint NOT NULL,
    gone         bigint NOT NULL,
    retries      bigint NOT NULL,
    trouble      text,
    holder       text,
    who          text,
    until        double precision
);
INSERT INTO "equipoise_cursors" VALUES('http http://collector.example/v1/logs',6,'01a1fc29-2803-75ba-b17f-455c23b5a1b7',1.79528518627298617365e+09,5,1,0,0,0,NULL,NULL,NULL,NULL);
CREATE TABLE equipoise_cursors_format (format integer NOT NULL);
INSERT INTO "equipoise_cursors_format" VALUES(1);
CREATE TABLE equipoise_quarantine (
    collector    text NOT NULL,
    position     bigint NOT NULL,
    event_id     text NOT NULL,
    experiment   text NOT NULL,
    kind         text NOT NULL,
    status       integer,
    reason       text NOT NULL,
    since        double precision NOT NULL,
    tries        integer NOT NULL,
    PRIMARY KEY (collector, position)
);
INSERT INTO "equipoise_quarantine" VALUES('http http://collector.example/v1/logs',5,'01a1fc29-2802-7e69-9b7d-c9c89bad6036','support-policy-prompt','turn',422,'the body was refused',1.79528518627298617365e+09,1);
COMMIT;
