# Small linear models on data sets that come with R: formulas x covariances x weights.
#
# Makes reference/classics.json, and the data as reference/data/{mtcars,warpbreaks,ToothGrowth,InsectSprays,cars}.csv.
# Needs R with sandwich. A few seconds. Run from the repository root:
#
#   Rscript reference/classics.R
#
# The CSV files are the data of R's package datasets, without row names; warpbreaks and InsectSprays have no
# numeric regressor, so they get a column of weights, w = 1 + (row mod 4)/4, row from 1. The models read the
# CSV files back, so factor levels are in byte order (tension H, L, M).

invisible(Sys.setlocale("LC_COLLATE", "C"))
folder <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1])))
source(file.path(folder, "json.R"))
library(sandwich)

LEVEL <- 0.95
LEVERAGE_ONE <- 1 - 1e-8 # above it HC2 and HC3 divide 0 by 0

# data set: its weights and clusters, then the formulas. C(x) is factor(x) and raw is raw = TRUE in R.
CASES <- list(
  mtcars = list(weights = "qsec", cluster = "carb", formulas = c(
    "mpg ~ 1",
    "mpg ~ wt - 1",
    "mpg ~ wt + hp",
    "mpg ~ wt*hp",
    "mpg ~ wt:hp",
    "mpg ~ poly(wt, 3)",
    "mpg ~ poly(wt, 3, raw)",
    "mpg ~ wt + I(wt^2)",
    "mpg ~ exp(-wt) + sqrt(hp)",
    "log(mpg) ~ log(wt) + C(cyl)",
    "mpg ~ 0 + C(cyl) + wt",
    "mpg ~ C(cyl):wt",
    "mpg ~ C(cyl)*C(am)",
    "mpg ~ (wt + hp + disp)^2",
    "mpg ~ (C(cyl) + wt + hp)^2",
    "mpg ~ C(cyl)*poly(wt, 2)",
    "mpg ~ . - qsec",
    "mpg ~ wt + I(2*wt) + hp",
    "mpg ~ C(cyl) + cyl + hp",
    "mpg ~ (C(cyl) + C(gear))^2",
    "mpg ~ poly(wt, 2) - 1",
    "mpg ~ poly(wt, 2) + C(cyl) - 1",
    "mpg ~ wt + poly(wt, 2)",
    "mpg ~ poly(wt, 2)*hp",
    "mpg ~ poly(wt, 2):hp",
    "mpg ~ poly(wt, 3):hp - 1",
    "mpg ~ poly(wt, 2):C(am)",
    "mpg ~ poly(wt, 2):C(am) - 1",
    "mpg ~ poly(wt, 2) + poly(wt, 2):C(am)",
    "mpg ~ C(am)/poly(wt, 2)",
    "mpg ~ C(am):poly(wt, 2):hp",
    "mpg ~ C(cyl):C(am):poly(wt, 1)",
    "mpg ~ poly(wt, 2):poly(hp, 2)",
    "mpg ~ poly(wt, 2)*poly(hp, 2)",
    "mpg ~ poly(wt, 2)*poly(hp, 2, raw)",
    "mpg ~ poly(wt, 2)*poly(log(hp), 2) - 1",
    "mpg ~ poly(wt, 2):poly(hp, 1):poly(qsec, 2)")),
  warpbreaks = list(weights = "w", formulas = c(
    "breaks ~ wool + tension",
    "breaks ~ wool*tension",
    "breaks ~ wool:tension",
    "breaks ~ wool:tension - 1",
    "breaks ~ tension + wool:tension",
    "breaks ~ wool*tension - wool",
    "log(breaks) ~ wool + tension - 1")),
  ToothGrowth = list(weights = "dose", formulas = c(
    "len ~ supp + dose - 1",
    "len ~ supp*dose",
    "len ~ supp:dose",
    "len ~ supp:dose - 1",
    "len ~ supp*C(dose)",
    "len ~ supp*poly(dose, 2)",
    "len ~ supp + poly(dose, 2)",
    "len ~ supp + poly(dose, 2) - 1",
    "len ~ supp:poly(dose, 2)",
    "len ~ supp*poly(dose, 2) - 1")),
  InsectSprays = list(weights = "w", formulas = c(
    "count ~ spray",
    "count ~ spray - 1",
    "sqrt(count) ~ spray")),
  cars = list(weights = "speed", formulas = c(
    "dist ~ speed",
    "dist ~ poly(speed, 2)",
    "dist ~ 0 + speed + I(speed^2)",
    "log(dist) ~ log(speed)"))
)

# small model, large model: one F test each.
NESTED <- list(
  list("mtcars", "mpg ~ wt", "mpg ~ wt + hp + qsec"),
  list("mtcars", "mpg ~ wt", "mpg ~ wt*C(cyl)"),
  list("warpbreaks", "breaks ~ 1", "breaks ~ wool*tension"),
  list("cars", "dist ~ speed", "dist ~ poly(speed, 3)")
)

to_r <- function(formula) gsub(", raw)", ", raw = TRUE)", gsub("C(", "factor(", formula, fixed = TRUE), fixed = TRUE)
to_ours <- function(names) gsub("factor(", "C(", names, fixed = TRUE)

write_data <- function(name) {
  data <- get(name, envir = asNamespace("datasets"))
  if (CASES[[name]]$weights == "w") data$w <- 1 + (seq_len(nrow(data)) %% 4) / 4
  path <- file.path(folder, "data", paste0(name, ".csv"))
  write.table(data, path, sep = ",", quote = FALSE, row.names = FALSE, eol = "\n")
  back <- read.csv(path, stringsAsFactors = TRUE)
  numeric <- vapply(data, is.numeric, TRUE)
  stopifnot(isTRUE(all.equal(data[numeric], back[numeric], tolerance = 0, check.attributes = FALSE)))
  back
}

spread <- function(values, fit) {
  full <- rep(NA_real_, length(coef(fit)))
  full[!is.na(coef(fit))] <- values
  full
}

std_errors <- function(fit, data, cluster) {
  result <- list(iid = spread(coef(summary(fit))[, 2], fit))
  for (type in c("HC0", "HC1", "HC2", "HC3")) {
    if (max(hatvalues(fit)) < LEVERAGE_ONE) {
      errors <- sqrt(diag(vcovHC(fit, type = type)))
    } else if (type %in% c("HC0", "HC1")) {
      # A row with leverage 1 has residual 0, and so may a coefficient that only it determines.
      squares <- diag(vcovHC(fit, type = type))
      noise <- abs(squares) < (1e-6 * coef(summary(fit))[, 2])^2
      errors <- sqrt(ifelse(noise, 0, squares))
    } else {
      errors <- NA_real_
    }
    result[[type]] <- spread(errors, fit)
  }
  # Where a row has leverage 1, a cluster's scores are differences of equal numbers.
  if (!is.null(cluster) && max(hatvalues(fit)) < LEVERAGE_ONE) {
    errors <- sqrt(diag(vcovCL(fit, cluster = data[[cluster]], type = "HC1")))
    result[[paste0("cluster:", cluster)]] <- spread(errors, fit)
  }
  result
}

f_test <- function(s) {
  f <- s$fstatistic
  if (is.null(f)) return(scalar(NA_real_))
  list(statistic = scalar(f[[1]]), df1 = scalar(f[[2]]), df2 = scalar(f[[3]]),
       p = scalar(pf(f[[1]], f[[2]], f[[3]], lower.tail = FALSE)))
}

# The first three rows of the data again.
predictions <- function(fit, data) {
  rows <- data[1:3, ]
  confidence <- suppressWarnings(predict(fit, rows, interval = "confidence", level = LEVEL))
  prediction <- suppressWarnings(predict(fit, rows, interval = "prediction", level = LEVEL))
  list(fit = confidence[, "fit"], confidence_low = confidence[, "lwr"], confidence_high = confidence[, "upr"],
       prediction_low = prediction[, "lwr"], prediction_high = prediction[, "upr"])
}

drop_table <- function(fit) {
  d <- drop1(fit, test = "F")[-1, ]
  list(term = to_ours(rownames(d)), df = as.integer(d[["Df"]]), sum_sq = d[["Sum of Sq"]],
       f = d[["F value"]], p = d[["Pr(>F)"]])
}

case <- function(name, data, formula, weights, cluster) {
  # do.call puts the column itself into the call, so that drop1 and predict find it again.
  arguments <- list(as.formula(to_r(formula)), data = data)
  if (!is.null(weights)) arguments$weights <- data[[weights]]
  fit <- do.call(lm, arguments)
  s <- summary(fit)
  ci <- confint(fit, level = LEVEL)
  result <- list(
    data = scalar(name), formula = scalar(formula), r_formula = scalar(to_r(formula)),
    weights = scalar(if (is.null(weights)) NA_character_ else weights),
    n = scalar(nobs(fit)), rank = scalar(fit$rank),
    names = to_ours(names(coef(fit))), r_names = names(coef(fit)),
    aliased = to_ours(names(which(is.na(coef(fit))))), estimate = coef(fit),
    t = spread(coef(s)[, 3], fit), p = spread(coef(s)[, 4], fit), ci_low = ci[, 1], ci_high = ci[, 2],
    std_errors = std_errors(fit, data, cluster),
    sigma = scalar(s$sigma), r_squared = scalar(s$r.squared), adj_r_squared = scalar(s$adj.r.squared),
    f = f_test(s), df_residual = scalar(df.residual(fit)), residual_ss = scalar(deviance(fit)),
    log_likelihood = scalar(as.numeric(logLik(fit))), aic = scalar(AIC(fit)), bic = scalar(BIC(fit)),
    max_leverage = scalar(max(hatvalues(fit)))
  )
  if (is.null(weights)) {
    result$first_rows <- predictions(fit, data)
    if (!anyNA(coef(fit)) && length(attr(terms(fit), "term.labels")) > 0) result$drop1 <- drop_table(fit)
  }
  result
}

nested <- function(entry) {
  data <- sets[[entry[[1]]]]
  fit <- function(formula) do.call(lm, list(as.formula(to_r(formula)), data = data))
  table <- anova(fit(entry[[2]]), fit(entry[[3]]))
  list(data = scalar(entry[[1]]), small = scalar(entry[[2]]), large = scalar(entry[[3]]),
       df = scalar(table[["Df"]][2]), df_residual = scalar(table[["Res.Df"]][2]),
       f = scalar(table[["F"]][2]), p = scalar(table[["Pr(>F)"]][2]))
}

sets <- sapply(names(CASES), write_data, simplify = FALSE)
cases <- list()
for (name in names(CASES)) {
  for (formula in CASES[[name]]$formulas) {
    for (weights in list(NULL, CASES[[name]]$weights)) {
      cases[[length(cases) + 1]] <- case(name, sets[[name]], formula, weights, CASES[[name]]$cluster)
    }
  }
}

write_json(list(
  meta = list(
    made_by = scalar("reference/classics.R"), data = scalar("reference/data/*.csv, from R's package datasets"),
    versions = versions(c("datasets", "sandwich")), level = scalar(LEVEL),
    conventions = list(
      names = scalar("R's, with C( in place of factor("),
      factors = scalar("levels in byte order, the first is the reference"),
      aliased = scalar("null in every list of the coefficients"),
      weights = scalar("R's analytic weights; poly() is orthogonal without them"),
      HC = scalar("sandwich::vcovHC; where a leverage is 1, HC2 and HC3 are null, and an HC0 or HC1 error below 1e-6 of the iid one is set to 0"),
      cluster = scalar("sandwich::vcovCL(type = \"HC1\"); absent where a leverage is 1"),
      likelihood = scalar("sigma counts as a parameter in aic and bic, as R's AIC and BIC"),
      first_rows = scalar("predict() for the first three rows of the data"),
      drop1 = scalar("drop1(fit, test = \"F\"): terms that no interaction contains"),
      nested = scalar("anova(small, large)")
    )
  ),
  cases = cases, nested = lapply(NESTED, nested)
), file.path(folder, "classics.json"))
