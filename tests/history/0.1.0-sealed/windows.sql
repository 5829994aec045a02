PRAGMA application_id = 1162956887;
PRAGMA user_version = 0;
BEGIN TRANSACTION;
CREATE TABLE equipoise_window_cells (
    fold     bigint NOT NULL,
    minute   bigint NOT NULL,
    arm      text NOT NULL,
    quantity text NOT NULL,
    body     text NOT NULL,
    PRIMARY KEY (fold, minute, arm, quantity)
);
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'treatment','turn','[3,"3000000000000000",0,[]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'treatment','turn.cost_usd','[3,"1b71758e219654",0,[]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'treatment','turn.error','[3,"0",0,[]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'treatment','turn.latency_s','[3,"6c00000000000000",0,[37607,1,29,1,19,1]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'treatment','turn.safe','[2,"2000000000000000",0,[]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'treatment','outcome.resolved','[2,"1000000000000000",0,[]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'treatment','score.policy_citation','[2,"4ccccccccccccd00",0,[]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'control','turn','[2,"2000000000000000",0,[]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'control','turn.cost_usd','[2,"19652bd3c36114",0,[]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'control','turn.error','[2,"1000000000000000",0,[]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'control','turn.latency_s','[2,"7800000000000000",0,[37655,1,14,1]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'control','turn.safe','[2,"2000000000000000",0,[]]');
INSERT INTO "equipoise_window_cells" VALUES(-854799008857393834,28333335,'control','outcome.resolved','[2,"1000000000000000",0,[]]');
CREATE TABLE equipoise_window_decisions (
    fold    bigint NOT NULL,
    watch   bigint NOT NULL,
    arm     text NOT NULL,
    ends    bigint NOT NULL,
    body    text NOT NULL,
    carried double precision,
    PRIMARY KEY (fold, watch, arm, ends)
);
INSERT INTO "equipoise_window_decisions" VALUES(2269901645662351552,1,'treatment',1700000700,'{"action": "rollback", "value": 0.03}',NULL);
INSERT INTO "equipoise_window_decisions" VALUES(2269901645662351552,0,'treatment',1700000400,'{"action": "pause", "value": 3.4}',1.79528518617799568175e+09);
CREATE TABLE equipoise_window_units (
    fold  bigint NOT NULL,
    unit  bigint NOT NULL,
    arm   text NOT NULL,
    since double precision NOT NULL,
    PRIMARY KEY (fold, unit)
);
INSERT INTO "equipoise_window_units" VALUES(-854799008857393834,-1855013259213009640,'treatment',1700000120.0);
INSERT INTO "equipoise_window_units" VALUES(-854799008857393834,7303399821250189476,'treatment',1700000123.0);
INSERT INTO "equipoise_window_units" VALUES(-854799008857393834,-5094539276570097822,'control',1700000126.0);
INSERT INTO "equipoise_window_units" VALUES(-854799008857393834,4242017897367525500,'control',1700000129.0);
CREATE TABLE equipoise_windows (
    fold     bigint PRIMARY KEY,
    revision bigint NOT NULL,
    position bigint NOT NULL,
    event_id text,
    state    text NOT NULL
);
INSERT INTO "equipoise_windows" VALUES(-854799008857393834,1,46,'01a1fc2a-0000-7000-8000-000000000015','{"watermark":1700003902.0,"closed":[1700003700,1700003700],"streaks":[[0,"treatment",{"breached":0,"acted":false,"ends":1700003700,"last":{"verdict":"unknown","value":null,"limit":null,"reason":"there are no readings of turn.latency_s in the window"}}],[1,"treatment",{"breached":0,"acted":false,"ends":1700003700,"last":{"verdict":"unknown","value":null,"limit":null,"reason":"there are no readings of turn.error in the window"}}]],"aside":{},"since":28333335}');
INSERT INTO "equipoise_windows" VALUES(2269901645662351552,1,3,'01a1fc29-27fa-74d8-a17d-3ba8a099e8d8','{}');
CREATE TABLE equipoise_windows_format (format integer NOT NULL);
INSERT INTO "equipoise_windows_format" VALUES(1);
COMMIT;
