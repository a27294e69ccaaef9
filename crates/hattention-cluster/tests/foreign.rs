//! An executor of the engine's own, without the function: the fit fails, and says why.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use hattention_cluster::{ClusterError, Job, SchedulerOptions, run_scheduler, state_of};
use hattention_table::design::{Design, DesignOptions, NaPolicy};
use hattention_table::formula::Formula;
use hattention_table::source::{Source, SourceOptions};

#[test]
fn an_executor_without_the_function_is_named() {
    let (sender, ready) = channel();
    std::thread::spawn(move || {
        let options = SchedulerOptions { bind: "127.0.0.1".into(), port: 0, host: "localhost".into() };
        run_scheduler(&options, |port| sender.send(port).unwrap())
    });
    let port = ready.recv_timeout(Duration::from_secs(60)).unwrap();
    let work = tempfile::tempdir().unwrap();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = ExecutorProcessConfig {
        bind_host: "127.0.0.1".into(),
        port: free(),
        grpc_port: free(),
        scheduler_host: "localhost".into(),
        scheduler_port: port,
        scheduler_connect_timeout_seconds: 60,
        work_dir: Some(work.path().display().to_string()),
        ..ExecutorProcessConfig::default()
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(start_executor_process(Arc::new(config)))
    });
    let path = work.path().join("a.csv");
    std::fs::write(&path, "y,x\n1,2\n2,3\n4,5\n").unwrap();
    let source = Source::open(&[path.display().to_string()], &SourceOptions::default()).unwrap();
    let formula = Formula::parse("y ~ x").unwrap();
    let design = Design::compile(&formula, &source.schema(), &DesignOptions::default()).unwrap();
    let address = format!("df://127.0.0.1:{port}").parse().unwrap();
    let error = state_of(&address, &source, &design, NaPolicy::Drop, false, None, &Job::default()).unwrap_err();
    assert!(matches!(error, ClusterError::Foreign { .. }), "{error}");
    assert!(error.hint().unwrap().contains("hat cluster"), "{error}");
}
