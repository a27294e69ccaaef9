//! From the address of an object, a prefix or a pattern to the objects it means.

use std::collections::HashSet;
use std::path::Path as LocalPath;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, Error as StoreError, GetOptions, ObjectMeta, ObjectStore,
    RetryConfig,
};

use super::discover::{Found, FoundFile, stem};
use super::error::SourceError;
use super::format::{Format, KNOWN_EXTENSIONS};
use super::partitions;
use super::place::Place;
use super::remote::{Object, start, wait};
use super::store_error::{explain, no_such_object};

/// An address in its parts.
struct Address<'a> {
    spec: &'a str,
    scheme: &'a str,
    /// Scheme and bucket, or scheme and host.
    root: &'a str,
    key: &'a str,
}

impl<'a> Address<'a> {
    fn parse(spec: &'a str) -> Option<Self> {
        let (scheme, rest) = spec.split_once("://")?;
        let bucket = rest.find('/').unwrap_or(rest.len());
        let root = &spec[..scheme.len() + 3 + bucket];
        Some(Self { spec, scheme, root, key: rest[bucket..].trim_start_matches('/') })
    }

    fn is_http(&self) -> bool {
        matches!(self.scheme, "http" | "https")
    }

    fn url(&self, path: &Path) -> String {
        format!("{}/{path}", self.root)
    }

    /// The store; credentials and endpoints are those of the environment.
    fn store(&self) -> Result<Arc<dyn ObjectStore>, SourceError> {
        let plain = |endpoint: Option<String>| endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let retry = retries();
        let store: Result<Arc<dyn ObjectStore>, StoreError> = match self.scheme {
            "s3" | "s3a" => {
                let builder = AmazonS3Builder::from_env().with_url(self.root).with_retry(retry);
                let endpoint = builder.get_config_value(&AmazonS3ConfigKey::S3Endpoint);
                let endpoint = endpoint.or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
                let builder = if plain(endpoint) { builder.with_allow_http(true) } else { builder };
                builder.build().map(|store| Arc::new(store) as _)
            }
            "gs" => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(self.root).with_retry(retry);
                let key = GoogleConfigKey::Client(ClientConfigKey::AllowHttp);
                let local = plain(builder.get_config_value(&GoogleConfigKey::BaseUrl));
                let builder = if local { builder.with_config(key, "true") } else { builder };
                builder.build().map(|store| Arc::new(store) as _)
            }
            "az" | "adl" | "azure" | "abfs" | "abfss" => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(self.root).with_retry(retry);
                let local = plain(builder.get_config_value(&AzureConfigKey::Endpoint));
                let builder = if local { builder.with_allow_http(true) } else { builder };
                builder.build().map(|store| Arc::new(store) as _)
            }
            "http" | "https" => {
                let options = ClientOptions::new().with_allow_http(true);
                let builder = HttpBuilder::new().with_url(self.root).with_retry(retry).with_client_options(options);
                builder.build().map(|store| Arc::new(store) as _)
            }
            scheme => {
                return Err(SourceError::NotAvailable { spec: self.spec.into(), scheme: format!("{scheme}://") });
            }
        };
        store.map_err(|error| explain(self.spec, error))
    }

    fn path(&self, key: &str) -> Result<Path, SourceError> {
        let path = if self.is_http() { Path::from_url_path(key) } else { Path::parse(key) };
        path.map_err(|error| SourceError::Remote {
            url: self.spec.into(),
            message: error.to_string(),
            hint: Some("write the address as scheme://bucket/name".into()),
            again: false,
        })
    }
}

/// Some seconds of attempts: enough for a store that is busy, few enough for an address that is wrong.
fn retries() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 };
    RetryConfig { backoff, max_retries: 5, retry_timeout: Duration::from_secs(120) }
}

/// The objects that an address means: one, all below a prefix, or those that match a pattern.
pub(crate) fn discover(spec: &str) -> Result<Found, SourceError> {
    let unknown = || SourceError::NotAvailable { spec: spec.into(), scheme: spec.into() };
    let address = Address::parse(spec).ok_or_else(unknown)?;
    let store = address.store()?;
    let is_pattern = address.key.contains(['*', '?', '[']);
    if is_pattern && address.is_http() {
        return Err(if address.key.contains('?') { with_query(spec) } else { no_listing(spec) });
    }
    let found =
        |files: Vec<FoundFile>, table: &str| Found { spec: spec.into(), table: stem(LocalPath::new(table)), files };
    if is_pattern {
        let files = matched(&address, &store)?;
        let table = match &files[..] {
            [only] => only.place.text(),
            _ => address.root.rsplit('/').next().unwrap_or("source").to_owned(),
        };
        return Ok(found(files, &table));
    }
    if Format::of(LocalPath::new(address.key)).is_some() && !address.key.ends_with('/') {
        let (path, url) = (address.path(address.key)?, spec.to_owned());
        let (head, from) = (path.clone(), Arc::clone(&store));
        let meta = start(async move {
            let options = GetOptions { head: true, ..GetOptions::default() };
            match from.get_opts(&head, options).await {
                Ok(result) => Ok(Some(result.meta)),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(explain(&url, error)),
            }
        })?;
        if let Some(meta) = wait(&meta, spec)? {
            let file = file(&address, &store, ObjectMeta { location: path, ..meta }, 0)?;
            return Ok(found(vec![file], address.key));
        }
        if address.is_http() {
            return Err(no_such_object(spec));
        }
        // Spark writes folders of this name.
        return match below(&address, &store) {
            Err(SourceError::EmptyDirectory { .. }) => Err(no_such_object(spec)),
            files => Ok(found(files?, address.key)),
        };
    }
    if address.is_http() {
        return Err(no_listing(spec));
    }
    let files = below(&address, &store)?;
    let name = address.key.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name = if name.is_empty() { address.root.rsplit('/').next().unwrap_or("source") } else { name };
    Ok(Found { spec: spec.into(), table: name.to_owned(), files })
}

/// An object of which all is known, as this machine reaches it.
pub(crate) fn known_object(url: &str, key: &str, size: u64, tag: Option<String>) -> Result<Object, SourceError> {
    let unknown = || SourceError::NotAvailable { spec: url.into(), scheme: url.into() };
    let address = Address::parse(url).ok_or_else(unknown)?;
    let wrong = |error: object_store::path::Error| SourceError::Remote {
        url: url.into(),
        message: error.to_string(),
        hint: None,
        again: false,
    };
    Ok(Object { store: address.store()?, path: Path::parse(key).map_err(wrong)?, url: url.to_owned(), size, tag })
}

fn no_listing(spec: &str) -> SourceError {
    SourceError::Remote {
        url: spec.into(),
        message: format!("a web server does not list its files, expected the address of one file ({KNOWN_EXTENSIONS})"),
        hint: Some("name every file".into()),
        again: false,
    }
}

/// A signed link, mostly.
fn with_query(spec: &str) -> SourceError {
    SourceError::Remote {
        url: spec.into(),
        message: "addresses with `?` are not read, expected the address of one file".into(),
        hint: Some("download the file first, for example with curl".into()),
        again: false,
    }
}

/// All objects below a prefix.
fn listed(address: &Address<'_>, store: &Arc<dyn ObjectStore>, prefix: &str) -> Result<Vec<ObjectMeta>, SourceError> {
    let (path, url, store) = (address.path(prefix)?, address.spec.to_owned(), Arc::clone(store));
    let prefix = path.clone();
    let listed = start(async move {
        let objects = store.list(Some(&prefix)).try_collect::<Vec<ObjectMeta>>().await;
        objects.map_err(|error| explain(&url, error))
    })?;
    let mut listed = without_markers(wait(&listed, address.spec)?, &path);
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(listed)
}

/// Without the objects of no bytes that some programs write for folders, `sales.parquet/`, whose names come without the
/// slash.
fn without_markers(mut listed: Vec<ObjectMeta>, prefix: &Path) -> Vec<ObjectMeta> {
    if listed.iter().all(|meta| meta.size > 0) {
        return listed;
    }
    let mut folders = HashSet::from([prefix.as_ref().to_owned()]);
    for meta in &listed {
        let name = meta.location.as_ref();
        folders.extend(name.match_indices('/').map(|(end, _)| name[..end].to_owned()));
    }
    listed.retain(|meta| meta.size > 0 || !folders.contains(meta.location.as_ref()));
    listed
}

/// The objects of known formats below a prefix. Names that begin with `.` or `_` are housekeeping of other programs.
fn below(address: &Address<'_>, store: &Arc<dyn ObjectStore>) -> Result<Vec<FoundFile>, SourceError> {
    let prefix = address.key.trim_end_matches('/');
    let depth = prefix.split('/').filter(|part| !part.is_empty()).count();
    let mut files = Vec::new();
    for meta in listed(address, store, prefix)? {
        let hidden = meta.location.parts().skip(depth).any(|part| part.as_ref().starts_with(['.', '_']));
        if !hidden && Format::of(LocalPath::new(meta.location.as_ref())).is_some() {
            files.push(file(address, store, meta, depth)?);
        }
    }
    if files.is_empty() {
        return Err(SourceError::EmptyDirectory { path: address.spec.into() });
    }
    Ok(files)
}

/// The objects that match a pattern; `*` stays within a level, `**` does not.
fn matched(address: &Address<'_>, store: &Arc<dyn ObjectStore>) -> Result<Vec<FoundFile>, SourceError> {
    let wrong = |message: String| SourceError::Pattern { pattern: address.spec.into(), message };
    let pattern = glob::Pattern::new(address.key).map_err(|error| wrong(error.to_string()))?;
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    let fixed = address.key.find(['*', '?', '[']).unwrap_or(address.key.len());
    let prefix = address.key[..fixed].rsplit_once('/').map_or("", |(folder, _)| folder);
    let all = listed(address, store, prefix)?.into_iter();
    let matching = all.filter(|meta| pattern.matches_with(meta.location.as_ref(), options));
    let files = matching.map(|meta| file(address, store, meta, 0)).collect::<Result<Vec<_>, _>>()?;
    if files.is_empty() {
        return Err(SourceError::NoMatch { pattern: address.spec.into() });
    }
    Ok(files)
}

/// An object as a file; partitions are those of its folders from `depth` on.
fn file(
    address: &Address<'_>,
    store: &Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    depth: usize,
) -> Result<FoundFile, SourceError> {
    let url = address.url(&meta.location);
    let format = Format::of(LocalPath::new(meta.location.as_ref()))
        .ok_or_else(|| SourceError::UnknownFormat { path: url.clone(), known: KNOWN_EXTENSIONS.into() })?;
    let parts: Vec<String> = meta.location.parts().map(|part| part.as_ref().to_owned()).collect();
    let folders = &parts[depth.min(parts.len())..parts.len().saturating_sub(1).max(depth.min(parts.len()))];
    let partitions = partitions::of_folders(folders.iter().map(String::as_str));
    let (path, size, tag) = (meta.location, meta.size, meta.e_tag);
    let place = Place::Remote(Arc::new(Object { store: Arc::clone(store), path, url, size, tag }));
    Ok(FoundFile { place, format, partitions })
}
