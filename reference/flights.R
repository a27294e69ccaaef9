# Linear models of the New York flights by R: lm and the sandwich package.
#
# Makes reference/flights_r.json from data/flights.parquet. Needs R with sandwich, and a Python with
# pyarrow to read the Parquet file (R gets a temporary CSV). Run from the repository root:
#
#   PYTHON=python3 Rscript reference/flights.R
#
# Under a minute and 1 GB of memory. R is good to 11 digits or more in most figures, fewer in residuals and
# fitted values; flights_exact.json holds the same figures in more.

invisible(Sys.setlocale("LC_COLLATE", "C")) # factor levels in byte order
folder <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1])))
source(file.path(folder, "json.R"))
library(sandwich)

LEVEL <- 0.95
LAG <- 5
CLUSTERS <- list(tailnum = "tailnum", dest = "dest", `dest+month` = c("dest", "month"))

read_flights <- function() {
  csv <- tempfile(fileext = ".csv")
  on.exit(unlink(csv))
  program <- paste("import sys, pyarrow.parquet as p, pyarrow.csv as c;",
                   "c.write_csv(p.read_table(sys.argv[1]), sys.argv[2])")
  # R's own library path must not reach Python.
  status <- system2(Sys.getenv("PYTHON", "python3"),
                    c("-c", shQuote(program), shQuote(file.path(folder, "..", "data", "flights.parquet")), csv), env = "LD_LIBRARY_PATH=")
  stopifnot(status == 0)
  # Empty cells are missing; no carrier, origin or destination is spelled NA.
  read.csv(csv, na.strings = "", stringsAsFactors = FALSE)
}

# A two-way clustered variance can be negative: then the error is null, and the variances are kept.
se <- function(v) suppressWarnings(unname(sqrt(diag(v))))

vcovs <- function(fit, data) {
  result <- list(iid = vcov(fit))
  for (type in c("HC0", "HC1", "HC2", "HC3")) result[[type]] <- vcovHC(fit, type = type)
  result[[paste0("HAC:", LAG)]] <- NeweyWest(fit, lag = LAG, prewhite = FALSE, adjust = FALSE)
  for (name in names(CLUSTERS)) {
    result[[paste0("cluster:", name)]] <-
      vcovCL(fit, cluster = data[CLUSTERS[[name]]], type = "HC1", cadjust = TRUE, multi0 = FALSE)
  }
  result
}

# data holds exactly the rows that the fit used.
describe <- function(fit, data, formula, n_file) {
  stopifnot(nobs(fit) == nrow(data), !anyNA(coef(fit)))
  s <- summary(fit)
  ci <- confint(fit, level = LEVEL)
  f <- s$fstatistic
  all_vcovs <- vcovs(fit, data)
  stopifnot(max(abs(se(all_vcovs$iid) / coef(s)[, 2] - 1)) < 1e-12)
  list(
    formula = scalar(formula),
    r_formula = scalar(paste(deparse(formula(fit), width.cutoff = 500), collapse = "")),
    n = scalar(nobs(fit)), dropped_rows = scalar(n_file - nobs(fit)), rank = scalar(fit$rank),
    names = names(coef(fit)), estimate = unname(coef(fit)), std_error = unname(coef(s)[, 2]),
    t = unname(coef(s)[, 3]), p = unname(coef(s)[, 4]), ci_low = unname(ci[, 1]), ci_high = unname(ci[, 2]),
    sigma = scalar(s$sigma), r_squared = scalar(s$r.squared), adj_r_squared = scalar(s$adj.r.squared),
    f = list(statistic = scalar(f[[1]]), df1 = scalar(f[[2]]), df2 = scalar(f[[3]]),
             p = scalar(pf(f[[1]], f[[2]], f[[3]], lower.tail = FALSE))),
    df_residual = scalar(df.residual(fit)), residual_ss = scalar(deviance(fit)),
    log_likelihood = scalar(as.numeric(logLik(fit))), aic = scalar(AIC(fit)), bic = scalar(BIC(fit)),
    std_errors = lapply(all_vcovs, se),
    variances = lapply(Filter(function(v) any(diag(v) < 0), all_vcovs), function(v) unname(diag(v))),
    clusters = list(tailnum = scalar(length(unique(data$tailnum))), dest = scalar(length(unique(data$dest))),
                    month = scalar(length(unique(data$month))),
                    `dest and month` = scalar(nrow(unique(data[c("dest", "month")]))))
  )
}

# F of dropping a term, as b' V^-1 b / q: with the iid covariance it is drop1's F here.
wald_terms <- function(fit, all_vcovs) {
  assign <- fit$assign
  labels <- attr(terms(fit), "term.labels")
  lapply(setNames(seq_along(labels), labels), function(k) {
    index <- which(assign == k)
    b <- coef(fit)[index]
    statistic <- vapply(all_vcovs, function(v) {
      drop(crossprod(b, solve(v[index, index, drop = FALSE], b))) / length(index)
    }, 0)
    list(df = scalar(length(index)), f = lapply(as.list(statistic), scalar))
  })
}

drop_table <- function(fit) {
  d <- drop1(fit, test = "F")
  list(term = rownames(d), df = as.integer(d[["Df"]]), sum_sq = d[["Sum of Sq"]], rss = d[["RSS"]],
       aic = d[["AIC"]], f = d[["F value"]], p = d[["Pr(>F)"]])
}

predictions <- function(fit, flights, rows) {
  confidence <- predict(fit, flights[rows, ], interval = "confidence", level = LEVEL)
  prediction <- predict(fit, flights[rows, ], interval = "prediction", level = LEVEL)
  list(rows_from_1 = as.integer(rows), fit = unname(confidence[, "fit"]),
       confidence_low = unname(confidence[, "lwr"]), confidence_high = unname(confidence[, "upr"]),
       prediction_low = unname(prediction[, "lwr"]), prediction_high = unname(prediction[, "upr"]))
}

diagnostics <- function(fit, data) {
  h <- hatvalues(fit)
  e <- residuals(fit)
  first <- 1:20
  highest <- which.max(h)
  list(
    rows_from_1 = data$row[first], fitted = unname(fitted(fit)[first]), residual = unname(e[first]),
    leverage = unname(h[first]), leave_one_out_residual = unname((e / (1 - h))[first]),
    cooks_distance = unname(cooks.distance(fit)[first]),
    max_leverage = scalar(h[[highest]]), max_leverage_row_from_1 = scalar(data$row[highest]),
    press = scalar(sum((e / (1 - h))^2)), leverage_sum = scalar(sum(h))
  )
}

timed <- function(label, code) {
  seconds <- system.time(value <- code)[["elapsed"]]
  message(sprintf("%s: %.1f s", label, seconds))
  value
}

flights <- timed("read", read_flights())
n_file <- nrow(flights)
flights$row <- seq_len(n_file)
flown <- flights[!is.na(flights$arr_delay), ]
stopifnot(!anyNA(flown[c("dep_delay", "air_time", "tailnum")]), nrow(flown) == 327346)
models <- list()

formula_a <- "arr_delay ~ dep_delay + distance + hour + carrier + origin"
fit <- timed("lm a", lm(as.formula(formula_a), flights))
models$a <- timed("describe a", describe(fit, flown, formula_a, n_file))
models$a$drop1 <- drop_table(fit)
models$a$wald_terms <- wald_terms(fit, vcovs(fit, flown))
# The first rows, then rows around 839 to 842, the first without a departure delay.
models$a$predictions <- predictions(fit, flights, c(1:20, 831:850))
models$a$diagnostics <- diagnostics(fit, flown)

fit <- timed("lm b", lm(as.formula(formula_a), flights, weights = distance))
models$b <- timed("describe b", describe(fit, flown, formula_a, n_file))
models$b$weights <- scalar("distance")

# poly() refuses missing values, so the rows without a delay or an air time go first.
formula_c <- "log(distance) ~ air_time + poly(dep_delay, 2) + origin*month"
fit <- timed("lm c", lm(as.formula(formula_c), flown))
models$c <- timed("describe c", describe(fit, flown, formula_c, n_file))
basis <- attr(poly(flown$dep_delay, 2), "coefs")
models$c$poly_coefs <- list(alpha = basis$alpha, norm2 = basis$norm2)

formula_d <- "arr_delay ~ dep_delay + carrier - 1"
fit <- timed("lm d", lm(as.formula(formula_d), flights))
models$d <- timed("describe d", describe(fit, flown, formula_d, n_file))

formula_e <- "cbind(arr_delay, dep_delay) ~ distance + origin"
both <- timed("lm e", lm(as.formula(formula_e), flights))
stopifnot(nobs(both) == nrow(flown))
targets <- lapply(c(arr_delay = "arr_delay", dep_delay = "dep_delay"), function(target) {
  formula <- paste(target, "~ distance + origin")
  fit <- lm(as.formula(formula), flown)
  stopifnot(max(abs(coef(fit) / coef(both)[, target] - 1)) < 1e-12)
  describe(fit, flown, formula, n_file)
})
models$e <- list(formula = scalar(formula_e), targets = targets)

write_json(list(
  meta = list(
    made_by = scalar("reference/flights.R"), data = scalar("data/flights.parquet"),
    versions = versions("sandwich"), level = scalar(LEVEL),
    conventions = list(
      order = scalar("rows in file order, after dropping those with a missing value in the model"),
      factors = scalar("levels in byte order, the first is the reference"),
      likelihood = scalar("sigma counts as a parameter in aic and bic, as R's AIC and BIC"),
      HC = scalar("sandwich::vcovHC: HC0 bare; HC1 times n/(n-k); HC2 e^2/(1-h); HC3 e^2/(1-h)^2; with weights e is w e and h is the weighted leverage"),
      HAC = scalar("sandwich::NeweyWest(fit, lag = 5, prewhite = FALSE, adjust = FALSE): weights 1 - j/6, no small-sample factor"),
      cluster = scalar("sandwich::vcovCL(type = \"HC1\", cadjust = TRUE, multi0 = FALSE): times (n-1)/(n-k) and G/(G-1)"),
      two_way = scalar("dest + month - (dest and month), each part with its own G/(G-1), all times (n-1)/(n-k); no eigenvalues changed"),
      wald_terms = scalar("b' V^-1 b / q of the term's q coefficients"),
      variances = scalar("of the covariances with a negative variance, whose standard error is null"),
      predictions = scalar("null where a regressor is missing")
    )
  ),
  models = models
), file.path(folder, "flights_r.json"))
message(sprintf("largest memory, R heap: %.0f MB", sum(gc()[, 6])))
