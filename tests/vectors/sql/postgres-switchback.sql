-- facts
SELECT
  CAST("t0"."unit" AS VARCHAR) AS "unit",
  "t0"."variant",
  "t0"."time" AS "happened",
  CAST(NULL AS VARCHAR) AS "cluster",
  "t0"."cost_usd" AS "q0",
  CAST("t0"."count" AS DOUBLE PRECISION) AS "q1",
  "t0"."latency_s" AS "q2"
FROM "turns" AS "t0"

-- slots
SELECT DISTINCT
  "t0"."unit"
FROM "facts" AS "t0"
WHERE
  "t0"."unit" IS NOT NULL

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
  "t2"."m1_y",
  "t2"."m2_x",
  "t2"."m3_x",
  "t2"."m3_y",
  "t2"."m4_x",
  "t2"."variant_changes"
FROM (
  SELECT
    "t1"."unit",
    MIN("t1"."variant") AS "variant",
    MIN("t1"."variant") <> MAX("t1"."variant") AS "crossed",
    MIN("t1"."happened") AS "since",
    COUNT(*) AS "told",
    MIN("t1"."cluster") AS "cluster",
    AVG("t1"."q0") AS "m0_x",
    SUM("t1"."q0") AS "m1_x",
    SUM("t1"."q1") AS "m1_y",
    SUM("t1"."q1") AS "m2_x",
    SUM("t1"."q0") AS "m3_x",
    CAST(NULLIF(COUNT("t1"."q0"), 0) AS DOUBLE PRECISION) AS "m3_y",
    AVG("t1"."q0") AS "m4_x",
    COALESCE(MIN("t1"."variant") <> MAX("t1"."variant"), FALSE) AS "variant_changes"
  FROM (
    SELECT
      *
    FROM "facts" AS "t0"
    WHERE
      "t0"."unit" IS NOT NULL
      AND (
        "t0"."happened" - CAST("t0"."unit" AS DOUBLE PRECISION)
      ) >= CAST('1800.0' AS DOUBLE PRECISION)
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
  AVG("t1"."y3") AS "mean_3_1",
  VAR_POP("t1"."x3") AS "cov_3_0_0",
  COVAR_POP("t1"."x3", "t1"."y3") AS "cov_3_0_1",
  VAR_POP("t1"."y3") AS "cov_3_1_1",
  COUNT(*) FILTER(WHERE
    "t1"."ripe4") AS "ripe_4",
  COUNT("t1"."x4") AS "n_4",
  AVG("t1"."x4") AS "mean_4_0",
  VAR_POP("t1"."x4") AS "cov_4_0_0"
FROM (
  SELECT
    "t0"."unit",
    "t0"."variant",
    "t0"."crossed",
    "t0"."since",
    "t0"."told",
    'w' || CAST(CAST((
      CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
    ) - (
      CAST(FLOOR(
        (
          CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
        ) / CAST('604800.0' AS DOUBLE PRECISION)
      ) AS BIGINT) * CAST('604800.0' AS DOUBLE PRECISION)
    ) AS BIGINT) AS VARCHAR) || '.' || CAST(CAST(FLOOR(
      CAST(CAST(FLOOR(
        (
          CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
        ) / CAST('604800.0' AS DOUBLE PRECISION)
      ) AS BIGINT) AS DOUBLE PRECISION) / CAST('2.0' AS DOUBLE PRECISION)
    ) AS BIGINT) AS VARCHAR) AS "cluster",
    "t0"."m0_x",
    "t0"."m1_x",
    "t0"."m1_y",
    "t0"."m2_x",
    "t0"."m3_x",
    "t0"."m3_y",
    "t0"."m4_x",
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
    CASE
      WHEN TRUE AND (
        "t0"."m3_x" IS NOT NULL
      ) AND (
        "t0"."m3_y" IS NOT NULL
      )
      THEN "t0"."m3_x"
      ELSE NULL
    END AS "x3",
    CASE
      WHEN TRUE AND (
        "t0"."m3_x" IS NOT NULL
      ) AND (
        "t0"."m3_y" IS NOT NULL
      )
      THEN "t0"."m3_y"
      ELSE NULL
    END AS "y3",
    TRUE AS "ripe4",
    CASE WHEN TRUE AND (
      "t0"."m4_x" IS NOT NULL
    ) THEN "t0"."m4_x" ELSE NULL END AS "x4",
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
  VAR_POP("t2"."c2_1") AS "cov_2_1_1",
  COUNT("t2"."c3_0") AS "n_3",
  AVG("t2"."c3_0") AS "mean_3_0",
  AVG("t2"."c3_1") AS "mean_3_1",
  VAR_POP("t2"."c3_0") AS "cov_3_0_0",
  COVAR_POP("t2"."c3_0", "t2"."c3_1") AS "cov_3_0_1",
  VAR_POP("t2"."c3_1") AS "cov_3_1_1",
  COUNT("t2"."c4_0") AS "n_4",
  AVG("t2"."c4_0") AS "mean_4_0",
  AVG("t2"."c4_1") AS "mean_4_1",
  VAR_POP("t2"."c4_0") AS "cov_4_0_0",
  COVAR_POP("t2"."c4_0", "t2"."c4_1") AS "cov_4_0_1",
  VAR_POP("t2"."c4_1") AS "cov_4_1_1"
FROM (
  SELECT
    "t1"."part",
    "t1"."variant",
    "t1"."cluster",
    SUM("t1"."x0") AS "c0_0",
    CAST(NULLIF(COUNT("t1"."x0"), 0) AS DOUBLE PRECISION) AS "c0_1",
    SUM("t1"."x1") AS "c1_0",
    SUM("t1"."y1") AS "c1_1",
    SUM("t1"."x2") AS "c2_0",
    CAST(NULLIF(COUNT("t1"."x2"), 0) AS DOUBLE PRECISION) AS "c2_1",
    SUM("t1"."x3") AS "c3_0",
    SUM("t1"."y3") AS "c3_1",
    SUM("t1"."x4") AS "c4_0",
    CAST(NULLIF(COUNT("t1"."x4"), 0) AS DOUBLE PRECISION) AS "c4_1"
  FROM (
    SELECT
      "t0"."unit",
      "t0"."variant",
      "t0"."crossed",
      "t0"."since",
      "t0"."told",
      'w' || CAST(CAST((
        CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
      ) - (
        CAST(FLOOR(
          (
            CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
          ) / CAST('604800.0' AS DOUBLE PRECISION)
        ) AS BIGINT) * CAST('604800.0' AS DOUBLE PRECISION)
      ) AS BIGINT) AS VARCHAR) || '.' || CAST(CAST(FLOOR(
        CAST(CAST(FLOOR(
          (
            CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
          ) / CAST('604800.0' AS DOUBLE PRECISION)
        ) AS BIGINT) AS DOUBLE PRECISION) / CAST('2.0' AS DOUBLE PRECISION)
      ) AS BIGINT) AS VARCHAR) AS "cluster",
      "t0"."m0_x",
      "t0"."m1_x",
      "t0"."m1_y",
      "t0"."m2_x",
      "t0"."m3_x",
      "t0"."m3_y",
      "t0"."m4_x",
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
      CASE
        WHEN TRUE AND (
          "t0"."m3_x" IS NOT NULL
        ) AND (
          "t0"."m3_y" IS NOT NULL
        )
        THEN "t0"."m3_x"
        ELSE NULL
      END AS "x3",
      CASE
        WHEN TRUE AND (
          "t0"."m3_x" IS NOT NULL
        ) AND (
          "t0"."m3_y" IS NOT NULL
        )
        THEN "t0"."m3_y"
        ELSE NULL
      END AS "y3",
      TRUE AS "ripe4",
      CASE WHEN TRUE AND (
        "t0"."m4_x" IS NOT NULL
      ) THEN "t0"."m4_x" ELSE NULL END AS "x4",
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

-- sums of blocks
SELECT
  "t1"."part",
  "t1"."variant",
  "t1"."cluster",
  SUM("t1"."x0") AS "c0_0",
  CAST(NULLIF(COUNT("t1"."x0"), 0) AS DOUBLE PRECISION) AS "c0_1",
  SUM("t1"."x1") AS "c1_0",
  SUM("t1"."y1") AS "c1_1",
  SUM("t1"."x2") AS "c2_0",
  CAST(NULLIF(COUNT("t1"."x2"), 0) AS DOUBLE PRECISION) AS "c2_1",
  SUM("t1"."x3") AS "c3_0",
  SUM("t1"."y3") AS "c3_1",
  SUM("t1"."x4") AS "c4_0",
  CAST(NULLIF(COUNT("t1"."x4"), 0) AS DOUBLE PRECISION) AS "c4_1"
FROM (
  SELECT
    "t0"."unit",
    "t0"."variant",
    "t0"."crossed",
    "t0"."since",
    "t0"."told",
    'w' || CAST(CAST((
      CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
    ) - (
      CAST(FLOOR(
        (
          CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
        ) / CAST('604800.0' AS DOUBLE PRECISION)
      ) AS BIGINT) * CAST('604800.0' AS DOUBLE PRECISION)
    ) AS BIGINT) AS VARCHAR) || '.' || CAST(CAST(FLOOR(
      CAST(CAST(FLOOR(
        (
          CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
        ) / CAST('604800.0' AS DOUBLE PRECISION)
      ) AS BIGINT) AS DOUBLE PRECISION) / CAST('2.0' AS DOUBLE PRECISION)
    ) AS BIGINT) AS VARCHAR) AS "cluster",
    "t0"."m0_x",
    "t0"."m1_x",
    "t0"."m1_y",
    "t0"."m2_x",
    "t0"."m3_x",
    "t0"."m3_y",
    "t0"."m4_x",
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
    CASE
      WHEN TRUE AND (
        "t0"."m3_x" IS NOT NULL
      ) AND (
        "t0"."m3_y" IS NOT NULL
      )
      THEN "t0"."m3_x"
      ELSE NULL
    END AS "x3",
    CASE
      WHEN TRUE AND (
        "t0"."m3_x" IS NOT NULL
      ) AND (
        "t0"."m3_y" IS NOT NULL
      )
      THEN "t0"."m3_y"
      ELSE NULL
    END AS "y3",
    TRUE AS "ripe4",
    CASE WHEN TRUE AND (
      "t0"."m4_x" IS NOT NULL
    ) THEN "t0"."m4_x" ELSE NULL END AS "x4",
    '' AS "part"
  FROM "units" AS "t0"
) AS "t1"
GROUP BY
  1,
  2,
  3

-- arms of blocks
SELECT
  "t1"."cluster",
  COUNT(DISTINCT "t1"."variant") AS "arms"
FROM (
  SELECT
    "t0"."unit",
    "t0"."variant",
    "t0"."crossed",
    "t0"."since",
    "t0"."told",
    'w' || CAST(CAST((
      CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
    ) - (
      CAST(FLOOR(
        (
          CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
        ) / CAST('604800.0' AS DOUBLE PRECISION)
      ) AS BIGINT) * CAST('604800.0' AS DOUBLE PRECISION)
    ) AS BIGINT) AS VARCHAR) || '.' || CAST(CAST(FLOOR(
      CAST(CAST(FLOOR(
        (
          CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
        ) / CAST('604800.0' AS DOUBLE PRECISION)
      ) AS BIGINT) AS DOUBLE PRECISION) / CAST('2.0' AS DOUBLE PRECISION)
    ) AS BIGINT) AS VARCHAR) AS "cluster",
    "t0"."m0_x",
    "t0"."m1_x",
    "t0"."m1_y",
    "t0"."m2_x",
    "t0"."m3_x",
    "t0"."m3_y",
    "t0"."m4_x",
    "t0"."variant_changes"
  FROM "units" AS "t0"
) AS "t1"
GROUP BY
  1

-- values of slots
SELECT
  "t0"."unit",
  "t0"."variant",
  'w' || CAST(CAST((
    CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
  ) - (
    CAST(FLOOR(
      (
        CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
      ) / CAST('604800.0' AS DOUBLE PRECISION)
    ) AS BIGINT) * CAST('604800.0' AS DOUBLE PRECISION)
  ) AS BIGINT) AS VARCHAR) || '.' || CAST(CAST(FLOOR(
    CAST(CAST(FLOOR(
      (
        CAST("t0"."unit" AS DOUBLE PRECISION) - CAST('1798416000.0' AS DOUBLE PRECISION)
      ) / CAST('604800.0' AS DOUBLE PRECISION)
    ) AS BIGINT) AS DOUBLE PRECISION) / CAST('2.0' AS DOUBLE PRECISION)
  ) AS BIGINT) AS VARCHAR) AS "block",
  CASE WHEN TRUE AND (
    "t0"."m0_x" IS NOT NULL
  ) THEN "t0"."m0_x" ELSE NULL END AS "x"
FROM "units" AS "t0"
WHERE
  CASE WHEN TRUE AND (
    "t0"."m0_x" IS NOT NULL
  ) THEN "t0"."m0_x" ELSE NULL END IS NOT NULL
