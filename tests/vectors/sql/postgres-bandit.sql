-- facts
SELECT
  CAST("t0"."unit" AS VARCHAR) AS "unit",
  "t0"."variant",
  "t0"."time" AS "happened",
  CAST(NULL AS VARCHAR) AS "cluster",
  CASE
    WHEN "t0"."answered"
    THEN CAST('1.0' AS DOUBLE PRECISION)
    WHEN NOT (
      "t0"."answered"
    )
    THEN CAST('0.0' AS DOUBLE PRECISION)
    ELSE NULL
  END AS "q0",
  "t0"."cost_usd" AS "q1",
  CAST("t0"."count" AS DOUBLE PRECISION) AS "q2",
  "t0"."latency_s" AS "q3",
  "t0"."tier" AS "s0",
  "t0"."before" AS "z0",
  CAST("t0"."epoch" AS DOUBLE PRECISION) AS "epoch",
  "t0"."probability"
FROM "turns" AS "t0"

-- units
WITH "t1" AS (
  SELECT
    *
  FROM "facts" AS "t0"
  WHERE
    "t0"."unit" IS NOT NULL
)
SELECT
  "t6"."unit",
  MIN("t6"."variant") AS "variant",
  MIN("t6"."variant") <> MAX("t6"."variant") AS "crossed",
  MIN("t6"."happened") AS "since",
  COUNT(*) AS "told",
  MIN("t6"."cluster") AS "cluster",
  MAX(
    CASE
      WHEN "t6"."happened" < (
        "t6"."entered" + CAST('7200.0' AS DOUBLE PRECISION)
      )
      THEN "t6"."q0"
      ELSE NULL
    END
  ) AS "m0_x",
  SUM("t6"."q1") AS "m1_x",
  SUM("t6"."q2") AS "m1_y",
  SUM("t6"."q1") AS "m2_x",
  SUM("t6"."q1") AS "m3_x",
  SUM("t6"."q1") AS "m4_x",
  CAST(NULLIF(COUNT("t6"."q1"), 0) AS DOUBLE PRECISION) AS "m4_y",
  MIN("t6"."s0") AS "s0",
  COALESCE(MIN("t6"."s0") <> MAX("t6"."s0"), FALSE) AS "s0_changes",
  MIN("t6"."z0") AS "z0",
  COALESCE(MIN("t6"."z0") <> MAX("t6"."z0"), FALSE) AS "z0_changes",
  MIN("t6"."epoch") AS "epoch",
  COALESCE(MIN("t6"."epoch") <> MAX("t6"."epoch"), FALSE) AS "epoch_changes",
  MIN("t6"."probability") AS "probability",
  COALESCE(MIN("t6"."probability") <> MAX("t6"."probability"), FALSE) AS "probability_changes",
  COALESCE(MIN("t6"."variant") <> MAX("t6"."variant"), FALSE) AS "variant_changes"
FROM (
  SELECT
    "t3"."unit",
    "t3"."variant",
    "t3"."happened",
    "t3"."cluster",
    "t3"."q0",
    "t3"."q1",
    "t3"."q2",
    "t3"."q3",
    "t3"."s0",
    "t3"."z0",
    "t3"."epoch",
    "t3"."probability",
    "t5"."entered"
  FROM "t1" AS "t3"
  INNER JOIN (
    SELECT
      "t2"."unit",
      MIN("t2"."happened") AS "entered"
    FROM "t1" AS "t2"
    GROUP BY
      1
  ) AS "t5"
    ON "t3"."unit" = "t5"."unit"
) AS "t6"
GROUP BY
  1

-- moments
SELECT
  "t1"."part",
  "t1"."variant",
  COUNT(*) AS "units",
  COUNT(*) FILTER(WHERE
    "t1"."ripe0") AS "ripe_0",
  COUNT("t1"."x0") AS "n_0",
  AVG("t1"."x0") AS "mean_0_0",
  VAR_POP("t1"."x0") AS "cov_0_0_0",
  COUNT(*) FILTER(WHERE
    "t1"."ripe1") AS "ripe_1",
  COUNT("t1"."x1") AS "n_1",
  AVG("t1"."x1") AS "mean_1_0",
  AVG("t1"."y1") AS "mean_1_1",
  VAR_POP("t1"."x1") AS "cov_1_0_0",
  COVAR_POP("t1"."x1", "t1"."y1") AS "cov_1_0_1",
  VAR_POP("t1"."y1") AS "cov_1_1_1",
  COUNT(*) FILTER(WHERE
    "t1"."ripe2") AS "ripe_2",
  COUNT("t1"."x2") AS "n_2",
  AVG("t1"."x2") AS "mean_2_0",
  VAR_POP("t1"."x2") AS "cov_2_0_0",
  COUNT(*) FILTER(WHERE
    "t1"."ripe3") AS "ripe_3",
  COUNT("t1"."x3") AS "n_3",
  AVG("t1"."x3") AS "mean_3_0",
  VAR_POP("t1"."x3") AS "cov_3_0_0",
  COUNT(*) FILTER(WHERE
    "t1"."ripe4") AS "ripe_4",
  COUNT("t1"."x4") AS "n_4",
  AVG("t1"."x4") AS "mean_4_0",
  AVG("t1"."y4") AS "mean_4_1",
  VAR_POP("t1"."x4") AS "cov_4_0_0",
  COVAR_POP("t1"."x4", "t1"."y4") AS "cov_4_0_1",
  VAR_POP("t1"."y4") AS "cov_4_1_1"
FROM (
  SELECT
    "t0"."unit",
    "t0"."variant",
    "t0"."crossed",
    "t0"."since",
    "t0"."told",
    "t0"."cluster",
    "t0"."m0_x",
    "t0"."m1_x",
    "t0"."m1_y",
    "t0"."m2_x",
    "t0"."m3_x",
    "t0"."m4_x",
    "t0"."m4_y",
    "t0"."s0",
    "t0"."s0_changes",
    "t0"."z0",
    "t0"."z0_changes",
    "t0"."epoch",
    "t0"."epoch_changes",
    "t0"."probability",
    "t0"."probability_changes",
    "t0"."variant_changes",
    TRUE AS "ripe0",
    CASE WHEN TRUE AND (
      "t0"."m0_x" IS NOT NULL
    ) THEN "t0"."m0_x" ELSE NULL END AS "x0",
    TRUE AS "ripe1",
    CASE
      WHEN TRUE AND (
        "t0"."m1_x" IS NOT NULL
      ) AND (
        "t0"."m1_y" IS NOT NULL
      )
      THEN "t0"."m1_x"
      ELSE NULL
    END AS "x1",
    CASE
      WHEN TRUE AND (
        "t0"."m1_x" IS NOT NULL
      ) AND (
        "t0"."m1_y" IS NOT NULL
      )
      THEN "t0"."m1_y"
      ELSE NULL
    END AS "y1",
    TRUE AS "ripe2",
    CASE WHEN TRUE AND (
      "t0"."m2_x" IS NOT NULL
    ) THEN "t0"."m2_x" ELSE NULL END AS "x2",
    TRUE AS "ripe3",
    CASE WHEN TRUE AND (
      "t0"."m3_x" IS NOT NULL
    ) THEN "t0"."m3_x" ELSE NULL END AS "x3",
    TRUE AS "ripe4",
    CASE
      WHEN TRUE AND (
        "t0"."m4_x" IS NOT NULL
      ) AND (
        "t0"."m4_y" IS NOT NULL
      )
      THEN "t0"."m4_x"
      ELSE NULL
    END AS "x4",
    CASE
      WHEN TRUE AND (
        "t0"."m4_x" IS NOT NULL
      ) AND (
        "t0"."m4_y" IS NOT NULL
      )
      THEN "t0"."m4_y"
      ELSE NULL
    END AS "y4",
    '' AS "part"
  FROM "units" AS "t0"
) AS "t1"
GROUP BY
  1,
  2

-- shares
SELECT
  "t1"."epoch",
  "t1"."variant",
  COUNT(*) AS "rows",
  COUNT("t1"."probability") AS "known",
  MIN("t1"."probability") AS "low",
  MAX("t1"."probability") AS "high",
  MIN("t1"."happened") AS "since"
FROM (
  SELECT
    *
  FROM "facts" AS "t0"
  WHERE
    "t0"."unit" IS NOT NULL
) AS "t1"
GROUP BY
  1,
  2

-- epochs
SELECT
  "t1"."part",
  "t1"."variant",
  COUNT(*) AS "units",
  COUNT(*) FILTER(WHERE
    "t1"."ripe0") AS "ripe_0",
  COUNT("t1"."x0") AS "n_0",
  AVG("t1"."x0") AS "mean_0_0",
  VAR_POP("t1"."x0") AS "cov_0_0_0",
  COUNT(*) FILTER(WHERE
    "t1"."ripe1") AS "ripe_1",
  COUNT("t1"."x1") AS "n_1",
  AVG("t1"."x1") AS "mean_1_0",
  AVG("t1"."y1") AS "mean_1_1",
  VAR_POP("t1"."x1") AS "cov_1_0_0",
  COVAR_POP("t1"."x1", "t1"."y1") AS "cov_1_0_1",
  VAR_POP("t1"."y1") AS "cov_1_1_1",
  COUNT(*) FILTER(WHERE
    "t1"."ripe2") AS "ripe_2",
  COUNT("t1"."x2") AS "n_2",
  AVG("t1"."x2") AS "mean_2_0",
  VAR_POP("t1"."x2") AS "cov_2_0_0"
FROM (
  SELECT
    "t0"."unit",
    "t0"."variant",
    "t0"."crossed",
    "t0"."since",
    "t0"."told",
    "t0"."cluster",
    "t0"."m0_x",
    "t0"."m1_x",
    "t0"."m1_y",
    "t0"."m2_x",
    "t0"."m3_x",
    "t0"."m4_x",
    "t0"."m4_y",
    "t0"."s0",
    "t0"."s0_changes",
    "t0"."z0",
    "t0"."z0_changes",
    "t0"."epoch",
    "t0"."epoch_changes",
    "t0"."probability",
    "t0"."probability_changes",
    "t0"."variant_changes",
    TRUE AS "ripe0",
    CASE WHEN TRUE AND (
      "t0"."m0_x" IS NOT NULL
    ) THEN "t0"."m0_x" ELSE NULL END AS "x0",
    TRUE AS "ripe1",
    CASE
      WHEN TRUE AND (
        "t0"."m1_x" IS NOT NULL
      ) AND (
        "t0"."m1_y" IS NOT NULL
      )
      THEN "t0"."m1_x"
      ELSE NULL
    END AS "x1",
    CASE
      WHEN TRUE AND (
        "t0"."m1_x" IS NOT NULL
      ) AND (
        "t0"."m1_y" IS NOT NULL
      )
      THEN "t0"."m1_y"
      ELSE NULL
    END AS "y1",
    TRUE AS "ripe2",
    CASE WHEN TRUE AND (
      "t0"."m2_x" IS NOT NULL
    ) THEN "t0"."m2_x" ELSE NULL END AS "x2",
    TRUE AS "ripe3",
    CASE WHEN TRUE AND (
      "t0"."m3_x" IS NOT NULL
    ) THEN "t0"."m3_x" ELSE NULL END AS "x3",
    TRUE AS "ripe4",
    CASE
      WHEN TRUE AND (
        "t0"."m4_x" IS NOT NULL
      ) AND (
        "t0"."m4_y" IS NOT NULL
      )
      THEN "t0"."m4_x"
      ELSE NULL
    END AS "x4",
    CASE
      WHEN TRUE AND (
        "t0"."m4_x" IS NOT NULL
      ) AND (
        "t0"."m4_y" IS NOT NULL
      )
      THEN "t0"."m4_y"
      ELSE NULL
    END AS "y4",
    "t0"."epoch" AS "part"
  FROM "units" AS "t0"
  WHERE
    "t0"."epoch" IS NOT NULL
) AS "t1"
GROUP BY
  1,
  2
