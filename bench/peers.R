# R's side of `cargo xtask bench`. Base R is enough; a faster reader of files is used when it is installed, and named.
#
#   peers.R serve                 in-memory lm.fit, driven over stdin as `peers.py serve` is
#   peers.R versions              as JSON
#   peers.R lm FILE.csv FILE.parquet FORMULA   a whole process: file to coefficients and standard errors

quoted <- function(text) paste0('"', text, '"')
number <- function(value) ifelse(is.na(value), "null", sprintf("%.17g", value))

blas <- function() {
  path <- extSoftVersion()[["BLAS"]]
  kind <- if (grepl("openblas", path)) "OpenBLAS" else if (grepl("mkl", path)) "MKL" else
    if (grepl("atlas", path)) "ATLAS" else if (grepl("/blas/|Rblas", path)) "reference BLAS" else "unknown BLAS"
  sprintf("%s (%s)", kind, basename(path))
}

versions <- function() {
  sprintf('{"R":"%s.%s","R BLAS":"%s"}', R.version$major, R.version$minor, blas())
}

serve <- function() {
  cat(sprintf('{"peers":[{"name":"R lm.fit","layout":"column-major","computes":"coefficients"}],"versions":%s}\n',
              versions()))
  input <- file("stdin", "r")
  x <- y <- NULL
  while (length(line <- readLines(input, n = 1)) > 0) {
    words <- strsplit(line, " ", fixed = TRUE)[[1]]
    if (words[1] == "load") {
      n <- as.integer(words[3]); p <- as.integer(words[4])
      read <- function(name, count) readBin(file.path(words[2], name), "double", count, size = 8, endian = "little")
      y <- read("y.f64", n)
      x <- cbind(1, matrix(read("x.f64", n * p), n, p))
      cat("{}\n")
    } else if (words[1] == "run") {
      start <- Sys.time()
      fit <- lm.fit(x, y)
      seconds <- as.numeric(difftime(Sys.time(), start, units = "secs"))
      cat(sprintf('{"seconds":%.9f,"coefficients":[%s]}\n', seconds,
                  paste(number(fit$coefficients), collapse = ",")))
      rm(fit); invisible(gc(FALSE))
    }
  }
}

whole_process <- function(csv, parquet, formula) {
  columns <- all.vars(as.formula(formula))
  if (requireNamespace("arrow", quietly = TRUE)) {
    how <- "arrow::read_parquet, six columns"
    data <- as.data.frame(arrow::read_parquet(parquet, col_select = tidyselect::all_of(columns)))
  } else if (requireNamespace("data.table", quietly = TRUE)) {
    how <- "data.table::fread of a CSV of the six columns"
    data <- data.table::fread(csv, data.table = FALSE)
  } else {
    how <- "read.csv of a CSV of the six columns, classes given"
    classes <- c(arr_delay = "numeric", dep_delay = "numeric", distance = "numeric", hour = "numeric",
                 carrier = "character", origin = "character")
    data <- read.csv(csv, colClasses = classes[columns])
  }
  fit <- summary(lm(as.formula(formula), data))
  table <- fit$coefficients
  rows <- sprintf('{"name":%s,"estimate":%s,"std_error":%s}', quoted(rownames(table)), number(table[, 1]), number(table[, 2]))
  cat(sprintf('{"n":%d,"how":%s,"coefficients":[%s]}\n', sum(fit$df[1:2]), quoted(how), paste(rows, collapse = ",")))
}

arguments <- commandArgs(trailingOnly = TRUE)
switch(arguments[1],
  serve = serve(),
  versions = cat(versions(), "\n"),
  lm = do.call(whole_process, as.list(arguments[-1])))
