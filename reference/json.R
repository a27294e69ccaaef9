# Writes nested lists as JSON with every double at 17 significant digits, so that it reads back to
# the same bits. Sourced by the other R scripts here; makes nothing itself.
#   named list -> object; unnamed list -> array, one element a line; vector -> array on one line;
#   scalar(x) -> a bare value. NA, NaN and infinities become null.

scalar <- function(x) {
  stopifnot(length(x) == 1)
  structure(list(unname(x)), class = "json_scalar")
}

json_string <- function(x) {
  x <- gsub("\\", "\\\\", x, fixed = TRUE)
  paste0("\"", gsub("\"", "\\\"", x, fixed = TRUE), "\"")
}

json_atoms <- function(x) {
  if (length(x) == 0) return(character())
  text <- if (is.character(x)) json_string(x)
    else if (is.logical(x)) ifelse(x, "true", "false")
    else if (is.integer(x)) format(x, trim = TRUE, scientific = FALSE)
    else sprintf("%.17g", x)
  text[if (is.numeric(x)) !is.finite(x) else is.na(x)] <- "null"
  text
}

to_json <- function(x, indent = "") {
  inner <- paste0(indent, " ")
  if (inherits(x, "json_scalar")) return(json_atoms(x[[1]]))
  if (!is.list(x)) return(paste0("[", paste(json_atoms(unname(x)), collapse = ", "), "]"))
  if (length(x) == 0) return(if (is.null(names(x))) "[]" else "{}")
  values <- vapply(x, to_json, "", indent = inner)
  if (is.null(names(x))) {
    return(paste0("[\n", paste0(inner, values, collapse = ",\n"), "\n", indent, "]"))
  }
  paste0("{\n", paste0(inner, json_string(names(x)), ": ", values, collapse = ",\n"), "\n", indent, "}")
}

write_json <- function(x, path) {
  connection <- file(path, "w", encoding = "UTF-8")
  on.exit(close(connection))
  writeLines(to_json(x), connection)
}

versions <- function(packages) {
  list(R = scalar(R.version.string),
       packages = setNames(lapply(packages, function(p) scalar(as.character(packageVersion(p)))), packages),
       lapack = scalar(La_version()))
}
