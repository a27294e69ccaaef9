//! An object store on this machine: enough of HTTP, of S3 and of Azure to be read, and failures on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What goes wrong.
#[derive(Default)]
pub struct Faults {
    /// Bodies that are cut in the middle, from now on.
    pub cut: AtomicUsize,
    /// Requests that are answered `503 Slow Down`, from now on.
    pub busy: AtomicUsize,
    /// Requests are refused.
    pub forbidden: AtomicBool,
    /// Bodies come in drops.
    pub drops: AtomicBool,
    /// Ranges are not understood.
    pub whole_only: AtomicBool,
    /// Objects are written anew after so many bodies; zero is never.
    pub written_after: AtomicUsize,
}

struct Shared {
    /// By bucket and key, as `bucket/key`.
    objects: BTreeMap<String, Vec<u8>>,
    faults: Faults,
    bodies: AtomicUsize,
    requests: Mutex<Vec<String>>,
    stop: AtomicBool,
}

pub struct Server {
    shared: Arc<Shared>,
    port: u16,
}

/// Keys that a list gives at once, so that lists have pages.
const PAGE: usize = 2;

impl Server {
    pub fn start(objects: Vec<(&str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let objects = objects.into_iter().map(|(key, content)| (key.to_owned(), content)).collect();
        let shared = Arc::new(Shared {
            objects,
            faults: Faults::default(),
            bodies: AtomicUsize::new(0),
            requests: Mutex::new(Vec::new()),
            stop: AtomicBool::new(false),
        });
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if all.stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&all);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { shared, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Request lines with the kind of their signature, so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// Takes one of what is left.
fn take(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Shared {
    /// Answers requests until the other side is done, or a fault ends the connection.
    fn serve(&self, stream: TcpStream) {
        let Ok(copy) = stream.try_clone() else { return };
        let (mut reader, mut writer) = (BufReader::new(copy), stream);
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                match reader.read_line(&mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) if line.trim().is_empty() => break,
                    Ok(_) => head.push(line.trim().to_owned()),
                }
            }
            if self.answer(&head, &mut writer).is_err() {
                return;
            }
        }
    }

    fn answer(&self, head: &[String], writer: &mut TcpStream) -> std::io::Result<()> {
        let mut words = head[0].split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let header = |name: &str| {
            let lines = head.iter().filter_map(|line| line.split_once(':'));
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
        };
        let signed = header("authorization").unwrap_or_default();
        let kind = signed.split(' ').next().unwrap_or_default();
        self.requests.lock().unwrap().push(format!("{method} {target} {kind}"));
        // (A body after the answer to HEAD would be read as the next answer.)
        let refuse = |writer: &mut TcpStream, status: &str, code: &str| {
            let body = if method == "HEAD" { String::new() } else { format!("<Error><Code>{code}</Code></Error>") };
            reply(writer, status, "", body.as_bytes())
        };
        if take(&self.faults.busy) {
            return refuse(writer, "503 Slow Down", "SlowDown");
        }
        if self.faults.forbidden.load(Ordering::SeqCst) {
            return refuse(writer, "403 Forbidden", "AccessDenied");
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if query.contains("list-type=2") {
            return reply(writer, "200 OK", "", self.list(path.trim_matches('/'), query).as_bytes());
        }
        if query.contains("comp=list") {
            return reply(writer, "200 OK", "", self.blobs(path.trim_matches('/'), query).as_bytes());
        }
        let Some(content) = self.objects.get(&decoded(path.trim_start_matches('/'))) else {
            return refuse(writer, "404 Not Found", "NoSuchKey");
        };
        let (after, bodies) = (self.faults.written_after.load(Ordering::SeqCst), self.bodies.load(Ordering::SeqCst));
        let tag = format!("\"{}-{}\"", content.len(), u8::from(after > 0 && bodies >= after));
        let about = format!("ETag: {tag}\r\nLast-Modified: Tue, 01 Jan 2013 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n");
        if method == "HEAD" {
            let length = content.len();
            return write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{about}\r\n");
        }
        if header("if-match").is_some_and(|wanted| wanted != tag) {
            return reply(writer, "412 Precondition Failed", "", b"");
        }
        self.bodies.fetch_add(1, Ordering::SeqCst);
        let range = header("range").filter(|_| !self.faults.whole_only.load(Ordering::SeqCst));
        let range = range.and_then(|range| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((from.parse::<usize>().ok()?, content.len().min(to.parse::<usize>().ok()? + 1)))
        });
        let (status, about, body) = match range {
            None => ("200 OK", about, &content[..]),
            Some((from, to)) => {
                let range = format!("Content-Range: bytes {from}-{}/{}\r\n", to - 1, content.len());
                ("206 Partial Content", about + &range, &content[from..to])
            }
        };
        if body.len() > 1 && take(&self.faults.cut) {
            write!(writer, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{about}\r\n", body.len())?;
            writer.write_all(&body[..body.len() / 2])?;
            writer.shutdown(std::net::Shutdown::Both)?;
            return Err(std::io::Error::other("cut"));
        }
        if self.faults.drops.load(Ordering::SeqCst) {
            write!(writer, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{about}\r\n", body.len())?;
            return body.chunks(61).try_for_each(|drop| {
                writer.write_all(drop)?;
                writer.flush()
            });
        }
        reply(writer, status, &about, body)
    }

    fn keys(&self, bucket: &str, query: &str) -> Vec<&String> {
        let prefix = format!("{bucket}/{}", value_of(query, "prefix").unwrap_or_default());
        self.objects.keys().filter(|key| key.starts_with(&prefix)).collect()
    }

    /// The keys as Azure lists them: tags without quotes.
    fn blobs(&self, container: &str, query: &str) -> String {
        let blob = |key: &&String| {
            let (name, content) = (&key[container.len() + 1..], &self.objects[*key]);
            format!(
                "<Blob><Name>{name}</Name><Properties><Last-Modified>Tue, 01 Jan 2013 00:00:00 GMT</Last-Modified>\
                 <Etag>{0}-0</Etag><Content-Length>{0}</Content-Length><Content-Type>any/thing</Content-Type>\
                 </Properties></Blob>",
                content.len()
            )
        };
        let blobs: String = self.keys(container, query).iter().map(blob).collect();
        format!("<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>")
    }

    /// A page of the keys of a bucket under a prefix.
    fn list(&self, bucket: &str, query: &str) -> String {
        let start: usize = value_of(query, "continuation-token").and_then(|token| token.parse().ok()).unwrap_or(0);
        let keys = self.keys(bucket, query);
        let page = keys.iter().skip(start).take(PAGE).map(|key| {
            let (name, content) = (&key[bucket.len() + 1..], &self.objects[*key]);
            format!(
                "<Contents><Key>{name}</Key><LastModified>2013-01-01T00:00:00.000Z</LastModified>\
                 <ETag>\"{0}-0\"</ETag><Size>{0}</Size></Contents>",
                content.len()
            )
        });
        let (page, more) = (page.collect::<String>(), start + PAGE < keys.len());
        let next = if more {
            format!("<NextContinuationToken>{}</NextContinuationToken>", start + PAGE)
        } else {
            String::new()
        };
        format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{next}{page}</ListBucketResult>")
    }
}

/// The value of a name in the query of an address.
fn value_of(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).next()
}

fn reply(writer: &mut TcpStream, status: &str, about: &str, body: &[u8]) -> std::io::Result<()> {
    write!(writer, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{about}\r\n", body.len())?;
    writer.write_all(body)
}

/// `%2F` and the like.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let hex = if first == b'%' { others.get(..2) } else { None };
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &others[2..] } else { others };
    }
    String::from_utf8(bytes).unwrap()
}
