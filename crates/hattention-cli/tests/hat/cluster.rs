//! A scheduler and executors as processes of their own: what they give is what one machine gives, in bits.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::support::{Folder, Outcome, data};

/// A scheduler or an executor.
struct Server {
    process: Child,
    said: Receiver<String>,
}

impl Server {
    fn start(folder: &Folder, args: &[&str]) -> Self {
        let mut process = folder.command().arg("cluster").args(args).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, said) = channel();
        let errors = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, said }
    }

    /// Waits until it says this; gives the line.
    fn says(&self, what: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.said.recv() {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => before.push(line),
                Err(_) => panic!("it ended without saying `{what}`: {before:#?}"),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// A scheduler on a free port; its address.
fn scheduler(folder: &Folder) -> (Server, String) {
    let server = Server::start(folder, &["scheduler", "--port", "0"]);
    let address = server.says("scheduler at ").replace("scheduler at ", "");
    (server, address)
}

/// An executor at two free ports that follow each other.
fn executor(folder: &Folder, scheduler: &str) -> Server {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let port = (0..100)
        .filter_map(|_| Some((free(0).ok()?.local_addr().ok()?.port(), ())))
        .map(|(port, ())| port)
        .find(|&port| port < u16::MAX && free(port).is_ok() && free(port + 1).is_ok())
        .unwrap();
    Server::start(folder, &["executor", "--scheduler", scheduler, "--port", &port.to_string(), "--tasks", "1", "-v"])
}

const FORMULA: &str = "arr_delay ~ poly(dep_delay, 2) * origin + distance + carrier";

#[test]
fn a_cluster_gives_the_bytes_of_one_machine() {
    let folder = Folder::new();
    let flights = data("flights");
    let flights = flights.as_str();
    let (_scheduler, on) = scheduler(&folder);
    let _executors = [executor(&folder, &on), executor(&folder, &on)];
    let local = folder.done(&["fit", FORMULA, flights, "--state-out", "local.state", "--json"]);
    for tasks in ["1", "7"] {
        let args = ["fit", FORMULA, flights, "--on", &on, "--tasks", tasks, "--state-out", "far.state", "--json"];
        assert_eq!(folder.done(&args), local);
        assert_eq!(std::fs::read(folder.path("far.state")).unwrap(), std::fs::read(folder.path("local.state")).unwrap());
    }
}
