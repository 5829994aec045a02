-- facts
SELECT
  CAST("t0"."user_id" AS TEXT) AS "unit",
  "t0"."arm" AS "variant",
  CAST(EPOCH(CAST(DATE_TRUNC('SECOND', "t0"."at") AS TIMESTAMP)) AS DOUBLE) + (
    CAST(EXTRACT('MICROSECOND' FROM "t0"."at") % 1000000 AS DOUBLE) / CAST('1000000.0' AS DOUBLE)
  ) AS "happened",
  "t0"."team" AS "cluster",
  CASE
    WHEN "t0"."resolved"
    THEN CAST('1.0' AS DOUBLE)
    WHEN NOT (
      "t0"."resolved"
    )
    THEN CAST('0.0' AS DOUBLE)
    ELSE NULL
  END AS "q0",
  CAST("t0"."turns" AS DOUBLE) AS "q1",
  "t0"."mood" AS "q2",
  CAST("t0"."cost" AS DOUBLE) AS "q3",
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
  "t2"."m3_x",
  "t2"."m4_x",
  "t2"."m5_x",
  "t2"."m5_y",
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
    SUM("t1"."q3") AS "m1_x",
    SUM("t1"."q3") AS "m2_x",
    SUM("t1"."q1") AS "m2_y",
    MAX("t1"."q2") AS "m3_x",
    MIN("t1"."happened") FILTER(WHERE
      "t1"."q0" <> 0) AS "m4_x",
    SUM("t1"."q3") AS "m5_x",
    CAST(NULLIF(COUNT("t1"."q3"), 0) AS DOUBLE) AS "m5_y",
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
  VAR_POP("t1"."y2") AS "cov_2_1_1",
  COUNT(*) FILTER(WHERE
    "t1"."ripe3") AS "ripe_3",
  COUNT("t1"."x3") AS "n_3",
  AVG("t1"."x3") AS "mean_3_0",
  VAR_POP("t1"."x3") AS "cov_3_0_0",
  COUNT(*) FILTER(WHERE
    "t1"."ripe5") AS "ripe_5",
  COUNT("t1"."x5") AS "n_5",
  AVG("t1"."x5") AS "mean_5_0",
  AVG("t1"."y5") AS "mean_5_1",
  VAR_POP("t1"."x5") AS "cov_5_0_0",
  COVAR_POP("t1"."x5", "t1"."y5") AS "cov_5_0_1",
  VAR_POP("t1"."y5") AS "cov_5_1_1"
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
    "t0"."m3_x",
    "t0"."m4_x",
    "t0"."m5_x",
    "t0"."m5_y",
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
    TRUE AS "ripe3",
    CASE WHEN TRUE AND (
      "t0"."m3_x" IS NOT NULL
    ) THEN "t0"."m3_x" ELSE NULL END AS "x3",
    TRUE AS "ripe5",
    CASE
      WHEN TRUE AND (
        "t0"."m5_x" IS NOT NULL
      ) AND (
        "t0"."m5_y" IS NOT NULL
      )
      THEN "t0"."m5_x"
      ELSE NULL
    END AS "x5",
    CASE
      WHEN TRUE AND (
        "t0"."m5_x" IS NOT NULL
      ) AND (
        "t0"."m5_y" IS NOT NULL
      )
      THEN "t0"."m5_y"
      ELSE NULL
    END AS "y5",
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
  COUNT("t2"."c5_0") AS "n_5",
  AVG("t2"."c5_0") AS "mean_5_0",
  AVG("t2"."c5_1") AS "mean_5_1",
  VAR_POP("t2"."c5_0") AS "cov_5_0_0",
  COVAR_POP("t2"."c5_0", "t2"."c5_1") AS "cov_5_0_1",
  VAR_POP("t2"."c5_1") AS "cov_5_1_1"
FROM (
  SELECT
    "t1"."part",
    "t1"."variant",
    "t1"."cluster",
    SUM("t1"."x0") AS "c0_0",
    CAST(NULLIF(COUNT("t1"."x0"), 0) AS DOUBLE) AS "c0_1",
    SUM("t1"."x1") AS "c1_0",
    CAST(NULLIF(COUNT("t1"."x1"), 0) AS DOUBLE) AS "c1_1",
    SUM("t1"."x2") AS "c2_0",
    SUM("t1"."y2") AS "c2_1",
    SUM("t1"."x3") AS "c3_0",
    CAST(NULLIF(COUNT("t1"."x3"), 0) AS DOUBLE) AS "c3_1",
    SUM("t1"."x5") AS "c5_0",
    SUM("t1"."y5") AS "c5_1"
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
      "t0"."m3_x",
      "t0"."m4_x",
      "t0"."m5_x",
      "t0"."m5_y",
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
      TRUE AS "ripe3",
      CASE WHEN TRUE AND (
        "t0"."m3_x" IS NOT NULL
      ) THEN "t0"."m3_x" ELSE NULL END AS "x3",
      TRUE AS "ripe5",
      CASE
        WHEN TRUE AND (
          "t0"."m5_x" IS NOT NULL
        ) AND (
          "t0"."m5_y" IS NOT NULL
        )
        THEN "t0"."m5_x"
        ELSE NULL
      END AS "x5",
      CASE
        WHEN TRUE AND (
          "t0"."m5_x" IS NOT NULL
        ) AND (
          "t0"."m5_y" IS NOT NULL
        )
        THEN "t0"."m5_y"
        ELSE NULL
      END AS "y5",
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

-- clusters in several arms
WITH "t2" AS (
  SELECT
    "t1"."part",
    "t1"."variant",
    "t1"."cluster",
    SUM("t1"."x0") AS "c0_0",
    CAST(NULLIF(COUNT("t1"."x0"), 0) AS DOUBLE) AS "c0_1",
    SUM("t1"."x1") AS "c1_0",
    CAST(NULLIF(COUNT("t1"."x1"), 0) AS DOUBLE) AS "c1_1",
    SUM("t1"."x2") AS "c2_0",
    SUM("t1"."y2") AS "c2_1",
    SUM("t1"."x3") AS "c3_0",
    CAST(NULLIF(COUNT("t1"."x3"), 0) AS DOUBLE) AS "c3_1",
    SUM("t1"."x5") AS "c5_0",
    SUM("t1"."y5") AS "c5_1"
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
      "t0"."m3_x",
      "t0"."m4_x",
      "t0"."m5_x",
      "t0"."m5_y",
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
      TRUE AS "ripe3",
      CASE WHEN TRUE AND (
        "t0"."m3_x" IS NOT NULL
      ) THEN "t0"."m3_x" ELSE NULL END AS "x3",
      TRUE AS "ripe5",
      CASE
        WHEN TRUE AND (
          "t0"."m5_x" IS NOT NULL
        ) AND (
          "t0"."m5_y" IS NOT NULL
        )
        THEN "t0"."m5_x"
        ELSE NULL
      END AS "x5",
      CASE
        WHEN TRUE AND (
          "t0"."m5_x" IS NOT NULL
        ) AND (
          "t0"."m5_y" IS NOT NULL
        )
        THEN "t0"."m5_y"
        ELSE NULL
      END AS "y5",
      '' AS "part"
    FROM "units" AS "t0"
  ) AS "t1"
  GROUP BY
    1,
    2,
    3
)
SELECT
  "t8"."part",
  "t8"."variant",
  COUNT(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_0"
      ELSE NULL
    END
  ) AS "n_0",
  AVG(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_0"
      ELSE NULL
    END
  ) AS "mean_0_0",
  AVG(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_1"
      ELSE NULL
    END
  ) AS "mean_0_1",
  AVG(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."c0_0"
      ELSE NULL
    END
  ) AS "mean_0_2",
  AVG(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."c0_1"
      ELSE NULL
    END
  ) AS "mean_0_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_0"
      ELSE NULL
    END
  ) AS "cov_0_0_0",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_1"
      ELSE NULL
    END
  ) AS "cov_0_0_1",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."c0_0"
      ELSE NULL
    END
  ) AS "cov_0_0_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."c0_1"
      ELSE NULL
    END
  ) AS "cov_0_0_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_1"
      ELSE NULL
    END
  ) AS "cov_0_1_1",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_1"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."c0_0"
      ELSE NULL
    END
  ) AS "cov_0_1_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."control_c0_1"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."c0_1"
      ELSE NULL
    END
  ) AS "cov_0_1_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."c0_0"
      ELSE NULL
    END
  ) AS "cov_0_2_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."c0_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."c0_1"
      ELSE NULL
    END
  ) AS "cov_0_2_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c0_0" IS NOT NULL
      ) AND (
        "t8"."control_c0_0" IS NOT NULL
      )
      THEN "t8"."c0_1"
      ELSE NULL
    END
  ) AS "cov_0_3_3",
  COUNT(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_0"
      ELSE NULL
    END
  ) AS "n_1",
  AVG(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_0"
      ELSE NULL
    END
  ) AS "mean_1_0",
  AVG(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_1"
      ELSE NULL
    END
  ) AS "mean_1_1",
  AVG(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."c1_0"
      ELSE NULL
    END
  ) AS "mean_1_2",
  AVG(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."c1_1"
      ELSE NULL
    END
  ) AS "mean_1_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_0"
      ELSE NULL
    END
  ) AS "cov_1_0_0",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_1"
      ELSE NULL
    END
  ) AS "cov_1_0_1",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."c1_0"
      ELSE NULL
    END
  ) AS "cov_1_0_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."c1_1"
      ELSE NULL
    END
  ) AS "cov_1_0_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_1"
      ELSE NULL
    END
  ) AS "cov_1_1_1",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_1"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."c1_0"
      ELSE NULL
    END
  ) AS "cov_1_1_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."control_c1_1"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."c1_1"
      ELSE NULL
    END
  ) AS "cov_1_1_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."c1_0"
      ELSE NULL
    END
  ) AS "cov_1_2_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."c1_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."c1_1"
      ELSE NULL
    END
  ) AS "cov_1_2_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c1_0" IS NOT NULL
      ) AND (
        "t8"."control_c1_0" IS NOT NULL
      )
      THEN "t8"."c1_1"
      ELSE NULL
    END
  ) AS "cov_1_3_3",
  COUNT(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_0"
      ELSE NULL
    END
  ) AS "n_2",
  AVG(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_0"
      ELSE NULL
    END
  ) AS "mean_2_0",
  AVG(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_1"
      ELSE NULL
    END
  ) AS "mean_2_1",
  AVG(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."c2_0"
      ELSE NULL
    END
  ) AS "mean_2_2",
  AVG(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."c2_1"
      ELSE NULL
    END
  ) AS "mean_2_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_0"
      ELSE NULL
    END
  ) AS "cov_2_0_0",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_1"
      ELSE NULL
    END
  ) AS "cov_2_0_1",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."c2_0"
      ELSE NULL
    END
  ) AS "cov_2_0_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."c2_1"
      ELSE NULL
    END
  ) AS "cov_2_0_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_1"
      ELSE NULL
    END
  ) AS "cov_2_1_1",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_1"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."c2_0"
      ELSE NULL
    END
  ) AS "cov_2_1_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."control_c2_1"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."c2_1"
      ELSE NULL
    END
  ) AS "cov_2_1_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."c2_0"
      ELSE NULL
    END
  ) AS "cov_2_2_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."c2_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."c2_1"
      ELSE NULL
    END
  ) AS "cov_2_2_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c2_0" IS NOT NULL
      ) AND (
        "t8"."control_c2_0" IS NOT NULL
      )
      THEN "t8"."c2_1"
      ELSE NULL
    END
  ) AS "cov_2_3_3",
  COUNT(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_0"
      ELSE NULL
    END
  ) AS "n_3",
  AVG(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_0"
      ELSE NULL
    END
  ) AS "mean_3_0",
  AVG(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_1"
      ELSE NULL
    END
  ) AS "mean_3_1",
  AVG(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."c3_0"
      ELSE NULL
    END
  ) AS "mean_3_2",
  AVG(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."c3_1"
      ELSE NULL
    END
  ) AS "mean_3_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_0"
      ELSE NULL
    END
  ) AS "cov_3_0_0",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_1"
      ELSE NULL
    END
  ) AS "cov_3_0_1",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."c3_0"
      ELSE NULL
    END
  ) AS "cov_3_0_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."c3_1"
      ELSE NULL
    END
  ) AS "cov_3_0_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_1"
      ELSE NULL
    END
  ) AS "cov_3_1_1",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_1"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."c3_0"
      ELSE NULL
    END
  ) AS "cov_3_1_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."control_c3_1"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."c3_1"
      ELSE NULL
    END
  ) AS "cov_3_1_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."c3_0"
      ELSE NULL
    END
  ) AS "cov_3_2_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."c3_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."c3_1"
      ELSE NULL
    END
  ) AS "cov_3_2_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c3_0" IS NOT NULL
      ) AND (
        "t8"."control_c3_0" IS NOT NULL
      )
      THEN "t8"."c3_1"
      ELSE NULL
    END
  ) AS "cov_3_3_3",
  COUNT(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_0"
      ELSE NULL
    END
  ) AS "n_5",
  AVG(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_0"
      ELSE NULL
    END
  ) AS "mean_5_0",
  AVG(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_1"
      ELSE NULL
    END
  ) AS "mean_5_1",
  AVG(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."c5_0"
      ELSE NULL
    END
  ) AS "mean_5_2",
  AVG(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."c5_1"
      ELSE NULL
    END
  ) AS "mean_5_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_0"
      ELSE NULL
    END
  ) AS "cov_5_0_0",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_1"
      ELSE NULL
    END
  ) AS "cov_5_0_1",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."c5_0"
      ELSE NULL
    END
  ) AS "cov_5_0_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."c5_1"
      ELSE NULL
    END
  ) AS "cov_5_0_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_1"
      ELSE NULL
    END
  ) AS "cov_5_1_1",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_1"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."c5_0"
      ELSE NULL
    END
  ) AS "cov_5_1_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."control_c5_1"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."c5_1"
      ELSE NULL
    END
  ) AS "cov_5_1_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."c5_0"
      ELSE NULL
    END
  ) AS "cov_5_2_2",
  COVAR_POP(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."c5_0"
      ELSE NULL
    END,
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."c5_1"
      ELSE NULL
    END
  ) AS "cov_5_2_3",
  VAR_POP(
    CASE
      WHEN (
        "t8"."c5_0" IS NOT NULL
      ) AND (
        "t8"."control_c5_0" IS NOT NULL
      )
      THEN "t8"."c5_1"
      ELSE NULL
    END
  ) AS "cov_5_3_3"
FROM (
  SELECT
    "t7"."part",
    "t7"."variant",
    "t7"."cluster",
    "t7"."c0_0",
    "t7"."c0_1",
    "t7"."c1_0",
    "t7"."c1_1",
    "t7"."c2_0",
    "t7"."c2_1",
    "t7"."c3_0",
    "t7"."c3_1",
    "t7"."c5_0",
    "t7"."c5_1",
    "t6"."control_part",
    "t6"."control_cluster",
    "t6"."control_c0_0",
    "t6"."control_c0_1",
    "t6"."control_c1_0",
    "t6"."control_c1_1",
    "t6"."control_c2_0",
    "t6"."control_c2_1",
    "t6"."control_c3_0",
    "t6"."control_c3_1",
    "t6"."control_c5_0",
    "t6"."control_c5_1"
  FROM (
    SELECT
      *
    FROM "t2" AS "t3"
    WHERE
      NOT (
        "t3"."variant" = 'control'
      )
  ) AS "t7"
  INNER JOIN (
    SELECT
      "t3"."part" AS "control_part",
      "t3"."cluster" AS "control_cluster",
      "t3"."c0_0" AS "control_c0_0",
      "t3"."c0_1" AS "control_c0_1",
      "t3"."c1_0" AS "control_c1_0",
      "t3"."c1_1" AS "control_c1_1",
      "t3"."c2_0" AS "control_c2_0",
      "t3"."c2_1" AS "control_c2_1",
      "t3"."c3_0" AS "control_c3_0",
      "t3"."c3_1" AS "control_c3_1",
      "t3"."c5_0" AS "control_c5_0",
      "t3"."c5_1" AS "control_c5_1"
    FROM "t2" AS "t3"
    WHERE
      "t3"."variant" = 'control'
  ) AS "t6"
    ON "t7"."part" = "t6"."control_part" AND "t7"."cluster" = "t6"."control_cluster"
) AS "t8"
GROUP BY
  1,
  2

-- slope: mood
SELECT
  "t8"."unit",
  (
    SUM(
      "t8"."height" * (
        "t8"."place" - (
          (
            "t8"."readings" - CAST('1.0' AS DOUBLE)
          ) / CAST('2.0' AS DOUBLE)
        )
      )
    ) * CAST('12.0' AS DOUBLE)
  ) / (
    MAX("t8"."readings") * (
      (
        MAX("t8"."readings") * MAX("t8"."readings")
      ) - CAST('1.0' AS DOUBLE)
    )
  ) AS "slope"
FROM (
  SELECT
    *
  FROM (
    SELECT
      "t6"."unit",
      "t6"."value" - MIN("t6"."value") OVER (PARTITION BY "t6"."unit" ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS "height",
      CAST(ROW_NUMBER() OVER (
        PARTITION BY "t6"."unit"
        ORDER BY "t6"."happened" ASC, "t6"."value" ASC
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
      ) - 1 AS DOUBLE) AS "place",
      CAST(COUNT(*) OVER (PARTITION BY "t6"."unit" ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS DOUBLE) AS "readings"
    FROM (
      SELECT
        "t5"."unit",
        "t5"."happened",
        "t5"."value"
      FROM (
        SELECT
          "t0"."unit",
          "t0"."happened",
          "t0"."q2" AS "value"
        FROM "facts" AS "t0"
        WHERE
          "t0"."q2" IS NOT NULL
      ) AS "t5"
      INNER JOIN (
        SELECT
          "t1"."unit",
          "t1"."since"
        FROM "units" AS "t1"
      ) AS "t4"
        ON "t5"."unit" = "t4"."unit"
    ) AS "t6"
  ) AS "t7"
  WHERE
    "t7"."readings" > CAST('1.0' AS DOUBLE)
) AS "t8"
GROUP BY
  1

-- time: wait
WITH "t1" AS (
  SELECT
    '' AS "part",
    "t0"."variant",
    "t0"."cluster",
    COALESCE("t0"."m4_x" < (
      "t0"."since" + CAST('86400.0' AS DOUBLE)
    ), FALSE) AS "event",
    LEAST(
      COALESCE("t0"."m4_x", CAST('0.0' AS DOUBLE)) - "t0"."since",
      CAST('86400.0' AS DOUBLE)
    ) AS "time"
  FROM "units" AS "t0"
  WHERE
    (
      "t0"."m4_x" IS NULL
    ) OR (
      "t0"."m4_x" >= "t0"."since"
    )
), "t11" AS (
  SELECT
    "t10"."part",
    "t10"."variant",
    "t10"."time",
    "t10"."came",
    "t10"."leaving",
    "t10"."at_risk",
    "t10"."width",
    "t10"."stay",
    "t10"."falls",
    "t10"."curve",
    "t10"."area",
    CASE
      WHEN "t10"."stay" > CAST('0.0' AS DOUBLE)
      THEN "t10"."area" / GREATEST("t10"."stay", CAST('1.0' AS DOUBLE))
      ELSE CAST('0.0' AS DOUBLE)
    END AS "weight"
  FROM (
    SELECT
      "t9"."part",
      "t9"."variant",
      "t9"."time",
      "t9"."came",
      "t9"."leaving",
      "t9"."at_risk",
      "t9"."width",
      "t9"."stay",
      "t9"."falls",
      "t9"."curve",
      SUM("t9"."curve" * "t9"."width") OVER (
        PARTITION BY "t9"."part", "t9"."variant"
        ORDER BY "t9"."time" DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS "area"
    FROM (
      SELECT
        "t8"."part",
        "t8"."variant",
        "t8"."time",
        "t8"."came",
        "t8"."leaving",
        "t8"."at_risk",
        "t8"."width",
        "t8"."stay",
        "t8"."falls",
        CASE
          WHEN "t8"."stay" > CAST('0.0' AS DOUBLE)
          THEN EXP(
            SUM("t8"."falls") OVER (
              PARTITION BY "t8"."part", "t8"."variant"
              ORDER BY "t8"."time" ASC
              ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            )
          )
          ELSE CAST('0.0' AS DOUBLE)
        END AS "curve"
      FROM (
        SELECT
          "t7"."part",
          "t7"."variant",
          "t7"."time",
          "t7"."came",
          "t7"."leaving",
          "t7"."at_risk",
          "t7"."width",
          "t7"."at_risk" - "t7"."came" AS "stay",
          CASE
            WHEN (
              "t7"."at_risk" - "t7"."came"
            ) > CAST('0.0' AS DOUBLE)
            THEN LN(GREATEST("t7"."at_risk" - "t7"."came", CAST('1.0' AS DOUBLE)) / "t7"."at_risk")
            ELSE CAST('0.0' AS DOUBLE)
          END AS "falls"
        FROM (
          SELECT
            "t4"."part",
            "t4"."variant",
            "t4"."time",
            "t4"."came",
            "t4"."leaving",
            SUM("t4"."leaving") OVER (
              PARTITION BY "t4"."part", "t4"."variant"
              ORDER BY "t4"."time" DESC
              ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "at_risk",
            COALESCE(
              LEAD("t4"."time") OVER (
                PARTITION BY "t4"."part", "t4"."variant"
                ORDER BY "t4"."time" ASC
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
              ),
              CAST('86400.0' AS DOUBLE)
            ) - "t4"."time" AS "width"
          FROM (
            SELECT
              "t2"."part",
              "t2"."variant",
              "t2"."time",
              CAST(COUNT(*) FILTER(WHERE
                "t2"."event") AS DOUBLE) AS "came",
              CAST(COUNT(*) AS DOUBLE) AS "leaving"
            FROM "t1" AS "t2"
            GROUP BY
              1,
              2,
              3
          ) AS "t4"
        ) AS "t7"
      ) AS "t8"
    ) AS "t9"
  ) AS "t10"
)
SELECT
  "t15"."part",
  "t15"."variant",
  "t6"."units",
  "t6"."events",
  "t6"."censored",
  "t15"."area",
  "t15"."longest",
  "t15"."lowest",
  "t21"."spread",
  "t21"."blocks"
FROM (
  SELECT
    "t12"."part",
    "t12"."variant",
    MIN("t12"."time") + MAX("t12"."area") AS "area",
    MAX("t12"."time") AS "longest",
    MIN("t12"."curve") AS "lowest",
    SUM(
      (
        "t12"."weight" * "t12"."weight" * "t12"."came" * "t12"."stay"
      ) / "t12"."at_risk"
    ) AS "greenwood"
  FROM "t11" AS "t12"
  GROUP BY
    1,
    2
) AS "t15"
INNER JOIN (
  SELECT
    "t2"."part",
    "t2"."variant",
    COUNT(*) AS "units",
    COUNT(*) FILTER(WHERE
      "t2"."event") AS "events",
    COUNT(*) FILTER(WHERE
      NOT (
        "t2"."event"
      ) AND (
        "t2"."time" < CAST('86400.0' AS DOUBLE)
      )) AS "censored"
  FROM "t1" AS "t2"
  GROUP BY
    1,
    2
) AS "t6"
  ON "t15"."part" = "t6"."part" AND "t15"."variant" = "t6"."variant"
INNER JOIN (
  SELECT
    "t19"."part",
    "t19"."variant",
    SUM("t19"."total" * "t19"."total") AS "spread",
    COUNT(*) AS "blocks"
  FROM (
    SELECT
      "t18"."part",
      "t18"."variant",
      "t18"."cluster",
      SUM("t18"."influence") AS "total"
    FROM (
      SELECT
        "t3"."part",
        "t3"."variant",
        "t3"."cluster",
        "t17"."hazard" - CASE WHEN "t3"."event" THEN "t17"."weight" ELSE CAST('0.0' AS DOUBLE) END AS "influence"
      FROM "t1" AS "t3"
      INNER JOIN (
        SELECT
          "t13"."part",
          "t13"."variant",
          "t13"."time",
          "t13"."weight",
          "t13"."hazard"
        FROM (
          SELECT
            "t12"."part",
            "t12"."variant",
            "t12"."time",
            "t12"."came",
            "t12"."leaving",
            "t12"."at_risk",
            "t12"."width",
            "t12"."stay",
            "t12"."falls",
            "t12"."curve",
            "t12"."area",
            "t12"."weight",
            SUM((
              "t12"."weight" * "t12"."came"
            ) / "t12"."at_risk") OVER (
              PARTITION BY "t12"."part", "t12"."variant"
              ORDER BY "t12"."time" ASC
              ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "hazard"
          FROM "t11" AS "t12"
        ) AS "t13"
      ) AS "t17"
        ON "t3"."part" = "t17"."part"
        AND "t3"."variant" = "t17"."variant"
        AND "t3"."time" = "t17"."time"
    ) AS "t18"
    GROUP BY
      1,
      2,
      3
  ) AS "t19"
  GROUP BY
    1,
    2
) AS "t21"
  ON "t15"."part" = "t21"."part" AND "t15"."variant" = "t21"."variant"
