-- facts
SELECT
  CAST("t0"."user_id" AS VARCHAR) AS "unit",
  "t0"."arm" AS "variant",
  CAST(EXTRACT('epoch' FROM DATE_TRUNC('SECOND', "t0"."at")) AS DOUBLE PRECISION) + (
    CAST(EXTRACT('microsecond' FROM "t0"."at") % 1000000 AS DOUBLE PRECISION) / CAST('1000000.0' AS DOUBLE PRECISION)
  ) AS "happened",
  "t0"."team" AS "cluster",
  CASE
    WHEN "t0"."resolved"
    THEN CAST('1.0' AS DOUBLE PRECISION)
    WHEN NOT (
      "t0"."resolved"
    )
    THEN CAST('0.0' AS DOUBLE PRECISION)
    ELSE NULL
  END AS "q0",
  CAST("t0"."turns" AS DOUBLE PRECISION) AS "q1",
  CAST("t0"."cost" AS DOUBLE PRECISION) AS "q2",
  "t0"."tier" AS "s0"
FROM "analytics"."turns" AS "t0"

-- units
SELECT
  "t2"."unit",
  "t2"."variant",
  "t2"."crossed",
  "t2"."since",
  "t2"."told",
  COALESCE("t2"."cluster", 'unit ' || "t2"."unit") AS "cluster",
  "t2"."m0_x",
  "t2"."m1_x",
  "t2"."m2_x",
  "t2"."m2_y",
  "t2"."s0",
  "t2"."s0_changes",
  "t2"."variant_changes"
FROM (
  SELECT
    "t1"."unit",
    MIN("t1"."variant") AS "variant",
    MIN("t1"."variant") <> MAX("t1"."variant") AS "crossed",
    MIN("t1"."happened") AS "since",
    COUNT(*) AS "told",
    MIN("t1"."cluster") AS "cluster",
    MAX("t1"."q0") AS "m0_x",
    SUM("t1"."q2") AS "m1_x",
    SUM("t1"."q2") AS "m2_x",
    SUM("t1"."q1") AS "m2_y",
    MIN("t1"."s0") AS "s0",
    COALESCE(MIN("t1"."s0") <> MAX("t1"."s0"), FALSE) AS "s0_changes",
    COALESCE(MIN("t1"."variant") <> MAX("t1"."variant"), FALSE) AS "variant_changes"
  FROM (
    SELECT
      *
    FROM "facts" AS "t0"
    WHERE
      "t0"."unit" IS NOT NULL
  ) AS "t1"
  GROUP BY
    1
) AS "t2"

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
  VAR_POP("t1"."x1") AS "cov_1_0_0",
  COUNT(*) FILTER(WHERE
    "t1"."ripe2") AS "ripe_2",
  COUNT("t1"."x2") AS "n_2",
  AVG("t1"."x2") AS "mean_2_0",
  AVG("t1"."y2") AS "mean_2_1",
  VAR_POP("t1"."x2") AS "cov_2_0_0",
  COVAR_POP("t1"."x2", "t1"."y2") AS "cov_2_0_1",
  VAR_POP("t1"."y2") AS "cov_2_1_1"
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
    "t0"."m2_x",
    "t0"."m2_y",
    "t0"."s0",
    "t0"."s0_changes",
    "t0"."variant_changes",
    TRUE AS "ripe0",
    CASE WHEN TRUE AND (
      "t0"."m0_x" IS NOT NULL
    ) THEN "t0"."m0_x" ELSE NULL END AS "x0",
    TRUE AS "ripe1",
    CASE WHEN TRUE AND (
      "t0"."m1_x" IS NOT NULL
    ) THEN "t0"."m1_x" ELSE NULL END AS "x1",
    TRUE AS "ripe2",
    CASE
      WHEN TRUE AND (
        "t0"."m2_x" IS NOT NULL
      ) AND (
        "t0"."m2_y" IS NOT NULL
      )
      THEN "t0"."m2_x"
      ELSE NULL
    END AS "x2",
    CASE
      WHEN TRUE AND (
        "t0"."m2_x" IS NOT NULL
      ) AND (
        "t0"."m2_y" IS NOT NULL
      )
      THEN "t0"."m2_y"
      ELSE NULL
    END AS "y2",
    '' AS "part"
  FROM "units" AS "t0"
) AS "t1"
GROUP BY
  1,
  2

-- clusters
SELECT
  "t2"."part",
  "t2"."variant",
  COUNT("t2"."c0_0") AS "n_0",
  AVG("t2"."c0_0") AS "mean_0_0",
  AVG("t2"."c0_1") AS "mean_0_1",
  VAR_POP("t2"."c0_0") AS "cov_0_0_0",
  COVAR_POP("t2"."c0_0", "t2"."c0_1") AS "cov_0_0_1",
  VAR_POP("t2"."c0_1") AS "cov_0_1_1",
  COUNT("t2"."c1_0") AS "n_1",
  AVG("t2"."c1_0") AS "mean_1_0",
  AVG("t2"."c1_1") AS "mean_1_1",
  VAR_POP("t2"."c1_0") AS "cov_1_0_0",
  COVAR_POP("t2"."c1_0", "t2"."c1_1") AS "cov_1_0_1",
  VAR_POP("t2"."c1_1") AS "cov_1_1_1",
  COUNT("t2"."c2_0") AS "n_2",
  AVG("t2"."c2_0") AS "mean_2_0",
  AVG("t2"."c2_1") AS "mean_2_1",
  VAR_POP("t2"."c2_0") AS "cov_2_0_0",
  COVAR_POP("t2"."c2_0", "t2"."c2_1") AS "cov_2_0_1",
  VAR_POP("t2"."c2_1") AS "cov_2_1_1"
FROM (
  SELECT
    "t1"."part",
    "t1"."variant",
    "t1"."cluster",
    SUM("t1"."x0") AS "c0_0",
    CAST(NULLIF(COUNT("t1"."x0"), 0) AS DOUBLE PRECISION) AS "c0_1",
    SUM("t1"."x1") AS "c1_0",
    CAST(NULLIF(COUNT("t1"."x1"), 0) AS DOUBLE PRECISION) AS "c1_1",
    SUM("t1"."x2") AS "c2_0",
    SUM("t1"."y2") AS "c2_1"
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
      "t0"."m2_x",
      "t0"."m2_y",
      "t0"."s0",
      "t0"."s0_changes",
      "t0"."variant_changes",
      TRUE AS "ripe0",
      CASE WHEN TRUE AND (
        "t0"."m0_x" IS NOT NULL
      ) THEN "t0"."m0_x" ELSE NULL END AS "x0",
      TRUE AS "ripe1",
      CASE WHEN TRUE AND (
        "t0"."m1_x" IS NOT NULL
      ) THEN "t0"."m1_x" ELSE NULL END AS "x1",
      TRUE AS "ripe2",
      CASE
        WHEN TRUE AND (
          "t0"."m2_x" IS NOT NULL
        ) AND (
          "t0"."m2_y" IS NOT NULL
        )
        THEN "t0"."m2_x"
        ELSE NULL
      END AS "x2",
      CASE
        WHEN TRUE AND (
          "t0"."m2_x" IS NOT NULL
        ) AND (
          "t0"."m2_y" IS NOT NULL
        )
        THEN "t0"."m2_y"
        ELSE NULL
      END AS "y2",
      '' AS "part"
    FROM "units" AS "t0"
  ) AS "t1"
  GROUP BY
    1,
    2,
    3
) AS "t2"
GROUP BY
  1,
  2
