//! What object stores say when they refuse, in words that name the address and the way out.

use object_store::Error as StoreError;

use super::error::SourceError;

/// The error with its address; the innermost cause says most.
pub(crate) fn explain(url: &str, error: StoreError) -> SourceError {
    let remote = |message: String, hint: Option<String>, again: bool| SourceError::Remote {
        url: url.into(),
        message,
        hint,
        again,
    };
    match &error {
        StoreError::NotFound { .. } => no_such_object(url),
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            remote("the store refuses: permission denied".into(), Some(credentials(url)), false)
        }
        StoreError::Precondition { .. } => {
            let message = "the object changed while it was read".into();
            remote(message, Some("run the command again once nobody writes it".into()), false)
        }
        _ => {
            let text = shown(&error);
            if text.contains("non-partial response") || text.contains("Content-Range") {
                let hint = "download the file first, for example with curl".into();
                return remote("the server does not serve parts of a file".into(), Some(hint), false);
            }
            let denied = ["metadata", "credential", "169.254."].iter().any(|word| text.contains(word));
            let hint = if denied { credentials(url) } else { "check the address, the endpoint and the network".into() };
            // A connection that breaks within a body is worth another attempt; the client has retried all else.
            let again = text.contains("body") || text.contains("end of file") || text.contains("closed");
            remote(text, Some(hint), again)
        }
    }
}

/// The error for an address where there is nothing.
pub(crate) fn no_such_object(url: &str) -> SourceError {
    let hint = Some("check the bucket, the name and the endpoint".into());
    SourceError::Remote { url: url.into(), message: "no such object".into(), hint, again: false }
}

/// How the credentials of a kind of store are named.
fn credentials(url: &str) -> String {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    match scheme {
        "s3" | "s3a" => {
            "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (AWS_ENDPOINT for stores other than \
                         Amazon's), or AWS_SKIP_SIGNATURE=true for a public bucket"
        }
        "gs" => {
            "set GOOGLE_APPLICATION_CREDENTIALS to a file of credentials, or GOOGLE_SKIP_SIGNATURE=true for a public \
                 bucket"
        }
        "http" | "https" => "the server wants a password or a token, which is not supported: download the file first",
        _ => {
            "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true for a public \
              container"
        }
    }
    .into()
}

/// The error in one line: its innermost cause, behind what failed, without what repeats itself.
fn shown(error: &StoreError) -> String {
    const SHOWN_CHARACTERS: usize = 300;
    let mut texts = vec![error.to_string()];
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        texts.push(inner.to_string());
        cause = inner.source();
    }
    let innermost = texts.pop().unwrap_or_default();
    let before = texts.pop().filter(|outer| !outer.contains(&innermost));
    let text = before.map_or(innermost.clone(), |outer| format!("{outer}: {innermost}"));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
