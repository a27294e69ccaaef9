//! The sides that work: a scheduler, and executors.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::utils::{default_config_producer, default_session_builder};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion::execution::FunctionRegistry;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use hattention_table::aggregate::hat_moments;
use tokio::net::TcpListener;

use crate::client::{Address, MESSAGE_BYTES, answers};
use crate::codec::{Logical, Physical};
use crate::error::ClusterError;
use crate::links;

/// Seconds between an executor's signs of life.
const SIGN_SECONDS: u64 = 5;

/// Seconds without a sign after which an executor is lost, and its tasks go to others.
const LOST_SECONDS: u64 = 20;

/// How a scheduler is started.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// The address on this machine to listen on.
    pub bind: String,
    /// The port.
    pub port: u16,
    /// Its name for itself. (Executors reach it as they were told.)
    pub host: String,
}

/// How an executor is started.
#[derive(Clone, Debug)]
pub struct ExecutorOptions {
    /// Where the scheduler is.
    pub scheduler: Address,
    /// The address on this machine to listen on.
    pub bind: String,
    /// The port of partial results; the next one is that of tasks.
    pub port: u16,
    /// The name under which others reach it.
    pub host: Option<String>,
    /// Tasks at once; zero for one a core.
    pub tasks: usize,
    /// Where partial states lie until they are fetched.
    pub work_dir: Option<PathBuf>,
}

fn stopped(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> ClusterError {
    move |error| ClusterError::Server { what, message: error.to_string() }
}

fn runtime(what: &'static str) -> Result<tokio::runtime::Runtime, ClusterError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Plans are trees that are walked by recursion.
        .thread_stack_size(32 << 20)
        .build()
        .map_err(|error| stopped(what)(&error))
}

/// Runs a scheduler until the process is stopped; `ready` gets its port once it listens (a free one for port 0).
///
/// # Errors
/// If it cannot start.
pub fn run_scheduler(options: &SchedulerOptions, ready: impl FnOnce(u16)) -> Result<(), ClusterError> {
    let stopped = stopped("scheduler");
    let bind: IpAddr = options.bind.parse().map_err(|_| ClusterError::Bind { given: options.bind.clone() })?;
    runtime("scheduler")?.block_on(async {
        let listener = TcpListener::bind((bind, options.port)).await.map_err(|error| stopped(&error))?;
        let port = listener.local_addr().map_err(|error| stopped(&error))?.port();
        ready(port);
        let config = scheduler_config(options, port);
        let cluster = BallistaCluster::new_from_config(&config).await.map_err(|error| stopped(&error))?;
        let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config)).await;
        let scheduler = scheduler.map_err(|error| stopped(&error))?;
        tokio::spawn(end_jobs_without_executors(scheduler.clone()));
        start_grpc_service_with_listener(listener, scheduler).await.map_err(|error| stopped(&error))
    })
}

/// Ends jobs that have had no executor for some time. (The engine does so when its last executor is lost, but lets jobs wait
/// for a first one for ever.)
async fn end_jobs_without_executors(scheduler: SchedulerServer<LogicalPlanNode, PhysicalPlanNode>) {
    let mut alone: Option<Instant> = None;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let jobs = scheduler.state.task_manager.get_running_job_cache();
        if jobs.is_empty() || scheduler.is_ready() {
            alone = None;
        } else if alone.get_or_insert_with(Instant::now).elapsed() >= Duration::from_secs(LOST_SECONDS) {
            for job in jobs.keys() {
                if let Err(error) = scheduler.cancel_job(job.clone()).await {
                    log::warn!("a job without executors cannot be ended: {error}");
                }
            }
        }
    }
}

fn scheduler_config(options: &SchedulerOptions, port: u16) -> SchedulerConfig {
    let mut config = SchedulerConfig::default()
        .with_hostname(options.host.clone())
        .with_port(port)
        // Clients then need to reach the scheduler only.
        .with_enable_embedded_flight_proxy(true)
        .with_grpc_server_max_decoding_message_size(MESSAGE_BYTES as u32)
        .with_grpc_server_max_encoding_message_size(MESSAGE_BYTES as u32)
        .with_grpc_client_max_message_size(MESSAGE_BYTES as u32)
        .with_override_config_producer(Arc::new(default_config_producer))
        .with_override_session_builder(Arc::new(|config: SessionConfig| {
            let mut state = default_session_builder(config)?;
            state.register_udaf(Arc::new(hat_moments()))?;
            Ok(state)
        }))
        .with_no_executors_grace_period_seconds(LOST_SECONDS);
    // Ready means that there is an executor.
    config.min_ready_executors = 1;
    config.bind_host = options.bind.clone();
    config.executor_timeout_seconds = LOST_SECONDS;
    config.expire_dead_executor_interval_seconds = SIGN_SECONDS;
    config.override_logical_codec = Some(Arc::new(Logical::default()));
    config.override_physical_codec = Some(Arc::new(Physical::default()));
    config.override_create_grpc_client_endpoint = Some(links::watched());
    config
}

/// What executors run tasks with.
fn session_config() -> SessionConfig {
    default_config_producer().with_ballista_override_create_grpc_client_endpoint(links::watched())
}

/// A folder that only this user reads, and that goes with the process.
fn own_folder() -> std::io::Result<tempfile::TempDir> {
    let mut folder = tempfile::Builder::new();
    folder.prefix("hattention-states-");
    #[cfg(unix)]
    folder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    folder.tempdir()
}

/// Runs an executor until the process is stopped.
///
/// # Errors
/// If it cannot start, or cannot reach its scheduler.
pub fn run_executor(options: &ExecutorOptions) -> Result<(), ClusterError> {
    let stopped = stopped("executor");
    if options.bind.parse::<IpAddr>().is_err() {
        return Err(ClusterError::Bind { given: options.bind.clone() });
    }
    let own = match &options.work_dir {
        Some(_) => None,
        // The engine's own would be left behind, and open to everybody on the machine.
        None => Some(own_folder().map_err(|error| stopped(&error))?),
    };
    let work_dir = options.work_dir.as_deref().or(own.as_ref().map(|folder| folder.path()));
    let mut functions = BallistaFunctionRegistry::default();
    let function = Arc::new(hat_moments());
    functions.aggregate_functions.insert(function.name().to_owned(), function);
    let config = ExecutorProcessConfig {
        bind_host: options.bind.clone(),
        external_host: options.host.clone(),
        port: options.port,
        grpc_port: options.port + 1,
        scheduler_host: options.scheduler.host().to_owned(),
        scheduler_port: options.scheduler.port(),
        vcores: match options.tasks {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            tasks => tasks,
        },
        work_dir: work_dir.map(|folder| folder.display().to_string()),
        grpc_max_decoding_message_size: MESSAGE_BYTES as u32,
        grpc_max_encoding_message_size: MESSAGE_BYTES as u32,
        executor_heartbeat_interval_seconds: SIGN_SECONDS,
        override_function_registry: Some(Arc::new(functions)),
        override_logical_codec: Some(Arc::new(Logical::default())),
        override_physical_codec: Some(Arc::new(Physical::default())),
        override_config_producer: Some(Arc::new(session_config)),
        override_create_grpc_client_endpoint: Some(links::to_scheduler(&options.scheduler)),
        ..ExecutorProcessConfig::default()
    };
    // (The engine would try for ever: it takes the time from a clock that stands still.)
    let started = Instant::now();
    while let Err(error) = answers(&options.scheduler) {
        if started.elapsed() >= Duration::from_secs(LOST_SECONDS) {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    runtime("executor")?.block_on(start_executor_process(Arc::new(config))).map_err(|error| stopped(&error))
}
