//! A scheduler and executors as processes of their own: what they give is what one machine gives, in bits; and what is said
//! when they are not there, or go.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::store_server;
use crate::support::{Folder, Outcome, data};

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(120);

/// A scheduler or an executor.
struct Server {
    process: Child,
    said: Receiver<String>,
}

impl Server {
    fn start(command: &mut Command, args: &[&str]) -> Self {
        let mut process = command.arg("cluster").args(args).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, said) = channel();
        let errors = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, said }
    }

    /// Waits until it says this; gives the line.
    fn says(&self, what: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("it did not say `{what}` ({error}): {before:#?}"),
            }
        }
    }

    /// What it has said since it was last listened to.
    fn has_said(&self) -> Vec<String> {
        self.said.try_iter().collect()
    }

    /// Sends a signal.
    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill {name} {}", self.process.id())]).status().unwrap();
        assert!(sent.success());
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits until it ends; what it said last.
    fn ends(&mut self) -> (i32, Vec<String>) {
        let mut said = Vec::new();
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {said:#?}"),
            }
        }
        (self.process.wait().unwrap().code().unwrap_or(-1), said)
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
    scheduler_with(folder, &[])
}

fn scheduler_with(folder: &Folder, more: &[&str]) -> (Server, String) {
    let server = Server::start(&mut folder.command(), &[&["scheduler", "--port", "0"], more].concat());
    let said = server.says("scheduler at ");
    let (_, port) = said.rsplit_once(':').unwrap();
    (server, format!("df://localhost:{port}"))
}

/// An executor at two free ports that follow each other, registered.
fn executor_of(command: &mut Command, scheduler: &str) -> Server {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let port = (0..100)
        .filter_map(|_| Some(free(0).ok()?.local_addr().ok()?.port()))
        .find(|&port| port < u16::MAX && free(port).is_ok() && free(port + 1).is_ok())
        .unwrap();
    let args = ["executor", "--scheduler", scheduler, "--port", &port.to_string(), "--tasks", "1", "-v"];
    // Those that are killed leave their folders: in that of the test, which goes.
    let folder = command.get_current_dir().unwrap().to_owned();
    let server = Server::start(command.env("TMPDIR", folder), &args);
    server.says("registration succeed");
    server
}

fn executor(folder: &Folder, scheduler: &str) -> Server {
    executor_of(&mut folder.command(), scheduler)
}

const FORMULA: &str = "arr_delay ~ poly(dep_delay, 2) * origin + distance + carrier";

#[test]
fn a_cluster_gives_the_bytes_of_one_machine() {
    let folder = Folder::new();
    let flights = data("data/flights.parquet");
    let (_scheduler, on) = scheduler(&folder);
    let _executors = [executor(&folder, &on), executor(&folder, &on)];
    let read = |name: &str| std::fs::read(folder.path(name)).unwrap();
    let few = "arr_delay ~ dep_delay + distance";
    for (formula, options) in [
        (FORMULA, vec![]),
        (few, vec!["--weights", "hour", "--with-hc", "--vcov", "HC1"]),
        (FORMULA, vec!["--ridge", "auto", "--level", "0.9"]),
    ] {
        let fit = |state: &str, more: &[&str]| {
            let args = [&["fit", formula, &flights, "--state-out", state, "--json"], &options[..], more].concat();
            folder.done(&args)
        };
        let local = fit("local.state", &[]);
        for tasks in ["1", "7"] {
            assert_eq!(fit("far.state", &["--on", &on, "--tasks", tasks]), local);
            assert_eq!(read("far.state"), read("local.state"));
        }
    }
}

#[test]
fn levels_seen_in_one_part_only_and_states_to_go_on_with() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("rows")).unwrap();
    let text = |levels: [&str; 2], from: usize| {
        let line = |i: usize| format!("{},{},{}\n", (i * i) % 23, (i * 7) % 11, levels[i % 2]);
        "y,x,g\n".to_owned() + &(from..from + 40).map(line).collect::<String>()
    };
    folder.file("rows/a.csv", text(["u", "v"], 0));
    folder.file("rows/b.csv", text(["v", "only here"], 40));
    folder.file("rows/c.csv", text(["u", "7"], 80));
    folder.file("more.csv", text(["w", "u"], 120));
    let (_scheduler, on) = scheduler(&folder);
    let _executors = [executor(&folder, &on), executor(&folder, &on)];
    let local = folder.done(&["fit", "y ~ x * C(g)", "rows", "more.csv", "--state-out", "local.state", "--json"]);
    let far =
        ["fit", "y ~ x * C(g)", "rows", "more.csv", "--on", &on, "--tasks", "9", "--state-out", "far.state", "--json"];
    assert_eq!(folder.done(&far), local);
    // In two steps, the second on the cluster.
    folder.done(&["fit", "y ~ x * C(g)", "rows", "--state-out", "first.state"]);
    let second = ["fit", "--from", "first.state", "more.csv", "--on", &on, "--state-out", "both.state", "--json"];
    assert_eq!(folder.done(&second), local);
    let read = |name: &str| std::fs::read(folder.path(name)).unwrap();
    assert_eq!(read("far.state"), read("local.state"));
    assert_eq!(read("both.state"), read("local.state"));
}

#[test]
fn executors_read_object_stores_themselves() {
    let folder = Folder::new();
    let flights = std::fs::read(data("data/flights.parquet")).unwrap();
    let half = |from: usize| {
        let line = |i: usize| format!("{},{}\n", (i * i) % 23, (i * 7) % 11);
        ("y,x\n".to_owned() + &(from..from + 400).map(line).collect::<String>()).into_bytes()
    };
    folder.file("all.csv", [half(0), half(400)[4..].to_vec()].concat());
    let objects =
        vec![("bucket/flights.parquet", flights), ("bucket/part=1/a.csv", half(0)), ("bucket/part=2/b.csv", half(400))];
    let store = store_server::Server::start(objects);
    let with_store = || {
        let mut command = folder.command();
        command.env("AWS_ENDPOINT", store.url()).env("AWS_REGION", "here").env("NO_PROXY", "127.0.0.1");
        command.env("AWS_SKIP_SIGNATURE", "true");
        command
    };
    let (_scheduler, on) = scheduler(&folder);
    let _executor = executor_of(&mut with_store(), &on);
    for (formula, far, local) in [
        (FORMULA, "s3://bucket/flights.parquet", data("data/flights.parquet")),
        ("y ~ x", "s3://bucket/part=*/*.csv", "all.csv".to_owned()),
    ] {
        let local = folder.done(&["fit", formula, &local, "--json"]);
        let outcome = Outcome::of(with_store().args(["fit", formula, far, "--on", &on, "--tasks", "3", "--json"]));
        assert_eq!(outcome.code, 0, "{}", outcome.err);
        assert_eq!(outcome.out, local);
    }
}

#[test]
fn bad_rows_and_files_are_named_as_on_one_machine() {
    let folder = Folder::new();
    folder.file("a.csv", "y,x\n1,2\n2,3\n4,5\n");
    folder.file("b.csv", "y,x\n1,2\n2,\n4,5\n");
    folder.file("c.csv", "y,x\n1,2\n2,inf\n4,5\n");
    let (_scheduler, on) = scheduler(&folder);
    let _executor = executor(&folder, &on);
    let on = ["--on", on.as_str()];
    folder.refused(
        &[&["fit", "y ~ x", "a.csv", "b.csv", "--na", "fail"], &on[..]].concat(),
        2,
        &["row 2 of", "b.csv", "`x` is missing", "--na drop"],
    );
    folder.refused(&[&["fit", "y ~ x", "a.csv", "c.csv"], &on[..]].concat(), 2, &["row 2 of", "c.csv", "`x` is inf"]);
    folder.refused(&[&["fit", "y ~ z", "a.csv"], &on[..]].concat(), 2, &["unknown column `z`"]);
    folder.refused(
        &[&["fit", "y ~ x", "-"], &on[..]].concat(),
        2,
        &["standard input", "another machine", "shared disk"],
    );
    folder.refused(&[&["fit", "y ~ x", "a.csv", "--vcov", "HC3"], &on[..]].concat(), 2, &["HC3", "--with-hc"]);
    folder.refused(&[&["fit", "y ~ 1", "a.csv", "--by", "x"], &on[..]].concat(), 2, &["--on with --by"]);
    folder.refused(&[&["fit", "y ~ 1 | x", "a.csv"], &on[..]].concat(), 2, &["--on with absorbed effects"]);
    folder.refused(&["fit", "y ~ x", "a.csv", "--tasks", "3"], 2, &["--on"]);
}

#[test]
fn who_is_not_there_is_named() {
    let folder = Folder::new();
    folder.file("a.csv", "y,x\n1,2\n2,3\n4,5\n");
    let fit = |on: &str| folder.hat(&["fit", "y ~ x", "a.csv", "--on", on]);
    fit("localhost:50050").is_refusal(&["address"], 2, &["expected df://HOST"]);
    fit("df://no-such-host.invalid").is_refusal(
        &["host"],
        2,
        &["no scheduler answers at df://no-such-host.invalid:50050"],
    );
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("df://127.0.0.1:{port}");
    fit(&nobody).is_refusal(&["port"], 2, &["no scheduler answers at", "hat cluster scheduler"]);
    // Something else that listens.
    let store = store_server::Server::start(Vec::new());
    let started = Instant::now();
    fit(&store.url().replace("http", "df")).is_refusal(
        &["another server"],
        2,
        &["the connection to df://", "broke", "hat cluster scheduler"],
    );
    assert!(started.elapsed() < PATIENCE);
    let (code, said) = Server::start(&mut folder.command(), &["executor", "--scheduler", &nobody]).ends();
    assert!(
        code == 2 && said.iter().any(|line| line.contains("error: ") && line.contains(&nobody)),
        "{code}: {said:#?}"
    );
    // A scheduler without executors.
    let (_scheduler, on) = scheduler(&folder);
    let started = Instant::now();
    fit(&on).is_refusal(&["no executors"], 2, &["executor", "hat cluster executor"]);
    assert!(started.elapsed() < PATIENCE);
}

/// Files enough for tasks to wait for each other.
fn many_files(folder: &Folder) {
    std::fs::create_dir(folder.path("rows")).unwrap();
    for file in 0..12 {
        let line = |i: usize| format!("{},{},{}\n", (i * i + file) % 2311, (i * 7) % 1117, ["u", "v", "w"][i % 3]);
        let text = "y,x,g\n".to_owned() + &(0..2000).map(line).collect::<String>();
        folder.file(&format!("rows/{file}.csv"), text);
    }
}

/// A fit that was started: 12 tasks on executors of which one stands still.
fn running(folder: &Folder, on: &str) -> Child {
    let args = ["fit", "y ~ x * g", "rows", "--on", on, "--tasks", "12", "--json"];
    folder.command().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn outcome(fit: Child) -> Outcome {
    let output = fit.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[cfg(unix)]
#[test]
fn an_executor_that_is_killed_or_stands_still_in_the_middle_of_a_job_costs_time_only() {
    let folder = Folder::new();
    many_files(&folder);
    let local = folder.done(&["fit", "y ~ x * g", "rows", "--json"]);
    for signal in ["-KILL", "-STOP"] {
        let (_scheduler, on) = scheduler(&folder);
        let (healthy, mut ill) = (executor(&folder, &on), executor(&folder, &on));
        // It takes tasks and does not answer: the job cannot end before it is killed, or lost.
        ill.signal("-STOP");
        let fit = running(&folder, &on);
        healthy.says("Execute task");
        if signal == "-KILL" {
            std::thread::sleep(Duration::from_secs(1));
            ill.kill();
        }
        let far = outcome(fit);
        assert_eq!(far.code, 0, "{signal}: {} {:#?}", far.err, healthy.has_said());
        assert_eq!(far.out, local);
    }
}

#[cfg(unix)]
#[test]
fn a_scheduler_that_goes_or_stands_still_in_the_middle_of_a_job_is_named() {
    let folder = Folder::new();
    many_files(&folder);
    for signal in ["-KILL", "-STOP"] {
        let (scheduler, on) = scheduler(&folder);
        let (healthy, ill) = (executor(&folder, &on), executor(&folder, &on));
        ill.signal("-STOP");
        let fit = running(&folder, &on);
        healthy.says("Execute task");
        scheduler.signal(signal);
        let started = Instant::now();
        outcome(fit).is_refusal(&["scheduler", signal], 2, &[&on, "broke", "hat cluster scheduler"]);
        assert!(started.elapsed() < PATIENCE);
    }
}

#[test]
fn the_name_that_a_scheduler_has_for_itself_need_not_mean_it_everywhere() {
    let folder = Folder::new();
    many_files(&folder);
    let local = folder.done(&["fit", "y ~ x * g", "rows", "--json"]);
    let (_scheduler, on) = scheduler_with(&folder, &["--host", "no-such-host.invalid"]);
    let _executor = executor(&folder, &on);
    assert_eq!(folder.done(&["fit", "y ~ x * g", "rows", "--on", &on, "--tasks", "3", "--json"]), local);
}

#[cfg(unix)]
#[test]
fn a_fit_that_is_interrupted_is_called_off() {
    let folder = Folder::new();
    many_files(&folder);
    let (scheduler, on) = scheduler_with(&folder, &["-v"]);
    let (healthy, ill) = (executor(&folder, &on), executor(&folder, &on));
    ill.signal("-STOP");
    let fit = running(&folder, &on);
    healthy.says("Execute task");
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", fit.id())]).status().unwrap();
    assert!(sent.success());
    let outcome = outcome(fit);
    assert!(outcome.code == 130 && outcome.err.contains("interrupted"), "{}: {}", outcome.code, outcome.err);
    scheduler.says("Received cancellation request for job");
}
