//! Sources in object stores and behind web servers: the same bits as files, failures met and named.

use std::sync::atomic::Ordering;

use crate::store_server::Server;
use crate::support::{Folder, Outcome};

fn rows(range: std::ops::Range<usize>) -> String {
    let mut text = String::from("y,x,g\n");
    for i in range {
        let (x, g) = (((i * 7919) % 1000) as f64 / 8.0, ["u", "v", "w"][i % 3]);
        text += &format!("{},{x},{g}\n", 1.0 + 0.5 * x + ((i * 31) % 17) as f64 / 7.0);
    }
    text
}

/// Runs the program with a store's address and credentials in its environment.
fn hat(folder: &Folder, server: &Server, signed: bool, args: &[&str]) -> Outcome {
    let mut command = folder.command();
    for (name, _) in std::env::vars().filter(|(name, _)| {
        name.starts_with("AWS_") || name.starts_with("AZURE_") || name.to_lowercase().ends_with("_proxy")
    }) {
        command.env_remove(name);
    }
    command.env("AWS_ENDPOINT", server.url()).env("AWS_REGION", "here").env("NO_PROXY", "127.0.0.1");
    command.env("AZURE_ENDPOINT", server.url()).env("AZURE_STORAGE_ACCOUNT_NAME", "account");
    command.env("AZURE_SKIP_SIGNATURE", "true");
    if signed {
        command.env("AWS_ACCESS_KEY_ID", "user").env("AWS_SECRET_ACCESS_KEY", "secret");
    } else {
        command.env("AWS_SKIP_SIGNATURE", "true");
    }
    Outcome::of(command.args(args))
}

fn done(folder: &Folder, server: &Server, args: &[&str]) -> String {
    let outcome = hat(folder, server, false, args);
    assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.err);
    outcome.out
}

/// A folder with rows as CSV and as Parquet, and a store with the same.
fn same_rows() -> (Folder, Server) {
    let folder = Folder::new();
    folder.file("rows.csv", rows(0..5000));
    let model = ["fit", "y ~ x", "rows.csv", "-o", "m.hat"];
    folder.done(&model);
    folder.done(&["predict", "m.hat", "rows.csv", "-o", "rows.parquet"]);
    let read = |name: &str| std::fs::read(folder.path(name)).unwrap();
    let objects = vec![
        ("bucket/rows.csv", read("rows.csv")),
        ("bucket/deep/year=2013/a.csv", rows(0..40).into_bytes()),
        ("bucket/deep/year=2013/b.csv", rows(40..90).into_bytes()),
        ("bucket/deep/year=2014/c.csv", rows(90..150).into_bytes()),
        ("bucket/deep/_SUCCESS", Vec::new()),
        ("bucket/predicted/rows.parquet", read("rows.parquet")),
        ("bucket/spark.parquet/", Vec::new()),
        ("bucket/spark.parquet/_SUCCESS", Vec::new()),
        ("bucket/spark.parquet/part-0.parquet", read("rows.parquet")),
        ("bucket/empty.parquet", Vec::new()),
        ("bucket/text.parquet", b"no such thing as a Parquet file".to_vec()),
    ];
    (folder, Server::start(objects))
}

const FIT: [&str; 2] = ["fit", "y ~ x + g"];

#[test]
fn objects_give_the_bits_of_files() {
    let (folder, server) = same_rows();
    let local = folder.done(&[&FIT[..], &["rows.csv", "--json"]].concat());
    for source in ["s3://bucket/rows.csv", &format!("{}/bucket/rows.csv", server.url())] {
        assert_eq!(done(&folder, &server, &[&FIT[..], &[source, "--json"]].concat()), local, "{source}");
    }
    let fit = ["fit", "row ~ prediction", "--json"];
    let local = folder.done(&[&fit[..], &["rows.parquet"]].concat());
    let stored = "s3://bucket/predicted/rows.parquet";
    assert_eq!(done(&folder, &server, &[&fit[..], &[stored]].concat()), local);
    assert_eq!(done(&folder, &server, &[&fit[..], &["s3://bucket/predicted/"]].concat()), local);
    let others = [
        "az://bucket/predicted/rows.parquet",
        "az://bucket/predicted/",
        // A folder that is called as a file, and has an object of no bytes that stands for it.
        "s3://bucket/spark.parquet",
        "s3://bucket/spark.parquet/",
        "s3://bucket/spark*/*.parquet",
    ];
    for source in others {
        assert_eq!(done(&folder, &server, &[&fit[..], &[source]].concat()), local, "{source}");
    }
    let signed = hat(&folder, &server, true, &[&fit[..], &[stored]].concat());
    assert_eq!((signed.code, signed.out), (0, local), "{}", signed.err);
    let requests = server.requests();
    assert!(requests.iter().any(|request| request.contains("AWS4-HMAC-SHA256")), "{requests:?}");
}

#[test]
fn prefixes_and_patterns_are_listed_in_pages_and_folders_are_columns() {
    let (folder, server) = same_rows();
    std::fs::create_dir_all(folder.path("deep/year=2013")).unwrap();
    std::fs::create_dir_all(folder.path("deep/year=2014")).unwrap();
    folder.file("deep/year=2013/a.csv", rows(0..40));
    folder.file("deep/year=2013/b.csv", rows(40..90));
    folder.file("deep/year=2014/c.csv", rows(90..150));
    let fit = |source: &str| -> Vec<String> {
        ["fit", "y ~ x + C(year)", source, "--json"].iter().map(|word| (*word).to_owned()).collect()
    };
    let words = |args: &[String]| folder.done(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let local = words(&fit("deep"));
    assert!(local.contains("\"C(year)2014\""), "{local}");
    for source in
        ["s3://bucket/deep/", "s3://bucket/deep", "s3://bucket/deep/*/*.csv", "s3://bucket/deep/year=201?/*.csv"]
    {
        let args = fit(source);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert_eq!(done(&folder, &server, &args), local, "{source}");
    }
    let outcome = hat(&folder, &server, false, &["fit", "y ~ x", "s3://bucket/deep/*.csv"]);
    outcome.is_refusal(&[], 2, &["s3://bucket/deep/*.csv", "matches no"]);
    let outcome = hat(&folder, &server, false, &["fit", "y ~ x", "s3://bucket/nothing/"]);
    outcome.is_refusal(&[], 2, &["s3://bucket/nothing/", "no file of a known format"]);
    let web = format!("{}/bucket/deep/", server.url());
    hat(&folder, &server, false, &["fit", "y ~ x", &web]).is_refusal(
        &[],
        2,
        &[&web, "does not list", "name every file"],
    );
}

#[test]
fn broken_slow_and_busy_connections_are_met() {
    let (folder, server) = same_rows();
    let local = folder.done(&[&FIT[..], &["rows.csv", "--json"]].concat());
    let fit = [&FIT[..], &["s3://bucket/rows.csv", "--json"]].concat();
    server.faults().cut.store(2, Ordering::SeqCst);
    assert_eq!(done(&folder, &server, &fit), local, "bodies cut in the middle");
    assert_eq!(server.faults().cut.load(Ordering::SeqCst), 0);
    server.faults().busy.store(2, Ordering::SeqCst);
    assert_eq!(done(&folder, &server, &fit), local, "a busy store");
    server.faults().drops.store(true, Ordering::SeqCst);
    assert_eq!(done(&folder, &server, &fit), local, "drop by drop");
}

#[test]
fn what_stores_refuse_is_named_with_the_way_out() {
    let (folder, server) = same_rows();
    let refused = |args: &[&str], words: &[&str]| hat(&folder, &server, false, args).is_refusal(args, 2, words);
    refused(&["fit", "y ~ x", "s3://bucket/gone.csv"], &["s3://bucket/gone.csv: no such object", "hint: "]);
    refused(&["fit", "y ~ x", "s3://bucket/empty.parquet"], &["s3://bucket/empty.parquet", "empty"]);
    refused(&["fit", "y ~ x", "s3://bucket/text.parquet"], &["s3://bucket/text.parquet", "not Parquet"]);
    refused(&["fit", "y ~ x", "ftp://bucket/rows.csv"], &["ftp://"]);
    let web = format!("{}/bucket/gone.csv", server.url());
    refused(&["fit", "y ~ x", &web], &[&web, "no such object"]);
    let link = format!("{}/bucket/rows.csv?signature=1", server.url());
    refused(&["fit", "y ~ x", &link], &["signature=1: addresses with `?`", "download the file first"]);
    server.faults().forbidden.store(true, Ordering::SeqCst);
    let keys = ["s3://bucket/rows.csv", "permission denied", "AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"];
    refused(&["fit", "y ~ x", "s3://bucket/rows.csv"], &keys);
    server.faults().forbidden.store(false, Ordering::SeqCst);
    server.faults().whole_only.store(true, Ordering::SeqCst);
    refused(&["fit", "y ~ x", "s3://bucket/rows.csv"], &["does not serve parts", "download"]);
    server.faults().whole_only.store(false, Ordering::SeqCst);
    server.faults().cut.store(1_000_000, Ordering::SeqCst);
    refused(&["fit", "y ~ x", "s3://bucket/rows.csv"], &["s3://bucket/rows.csv", "hint: "]);
}

#[test]
fn an_object_that_is_written_anew_between_two_passes_is_an_error() {
    let (folder, server) = same_rows();
    let robust = ["fit", "y ~ x", "s3://bucket/rows.csv", "--vcov", "HC3", "--quiet"];
    let bodies = || server.requests().iter().filter(|request| request.starts_with("GET")).count();
    assert_eq!(hat(&folder, &server, false, &robust).code, 0);
    // The header, the types, the first pass; then it is another object.
    server.faults().written_after.store(2 * bodies() - 1, Ordering::SeqCst);
    hat(&folder, &server, false, &robust).is_refusal(
        &robust,
        2,
        &["s3://bucket/rows.csv", "changed while it was read"],
    );
}
