//! The side that asks for a fit.

use std::any::Any;
use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ballista::prelude::{SessionConfigExt, SessionContextExt};
use ballista_core::config::BALLISTA_CLIENT_PULL;
use ballista_core::execution_plans::DistributedQueryExec;
use ballista_core::serde::protobuf::CancelJobParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use datafusion::arrow::array::AsArray;
use datafusion::common::Column;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext, lit};
use datafusion_proto::protobuf::LogicalPlanNode;
use hattention_table::aggregate::{Order, hat_moments};
use hattention_table::design::{Design, NaPolicy};
use hattention_table::source::{BATCH_ROWS, Source};
use hattention_table::state::TableState;

use crate::codec::{Logical, Physical};
use crate::error::ClusterError;
use crate::links;
use crate::table::{PLACE, PartsTable};

/// The port of a scheduler, unless it says otherwise.
pub(crate) const PORT: u16 = 50050;

/// Bytes of a message at most: a state of some thousand columns.
pub(crate) const MESSAGE_BYTES: usize = 1 << 30;

/// Bytes of files that a task reads, at least.
const PART_BYTES: u64 = 32 << 20;

/// Tasks of a fit at most: beyond them, parts grow.
const TASKS: u64 = 1 << 14;

/// How long a scheduler may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How long calling off may take.
const CALL_OFF: Duration = Duration::from_secs(3);

/// Where a scheduler is: `df://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = ClusterError;

    fn from_str(given: &str) -> Result<Self, ClusterError> {
        let wrong = || ClusterError::Address { given: given.into() };
        let rest = given.strip_prefix("df://").ok_or_else(wrong)?;
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, port.parse().map_err(|_| wrong())?),
            _ => (rest, PORT),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        if host.is_empty() || !host.chars().all(plain) || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "df://{}:{}", self.host, self.port)
    }
}

/// A fit on a cluster, which another thread can call off.
#[derive(Clone, Debug, Default)]
pub struct Job {
    running: Arc<Mutex<Option<Running>>>,
    called_off: Arc<AtomicBool>,
}

type Running = (Address, Arc<dyn ExecutionPlan>);

impl Job {
    fn set(&self, running: Option<Running>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }

    /// Tells the scheduler, if the fit is under way, that nobody waits for it any more; takes three seconds at most.
    pub fn call_off(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((address, plan)) = running else { return };
        self.called_off.store(true, Ordering::SeqCst);
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let told = async {
            let plan = (plan.as_ref() as &dyn Any).downcast_ref::<DistributedQueryExec<LogicalPlanNode>>();
            let Some(plan) = plan else { return Ok(()) };
            // The scheduler may be just about to give it a number.
            let job = loop {
                match plan.job_id() {
                    Some(job) => break job,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            let mut scheduler =
                SchedulerGrpcClient::connect(format!("http://{}:{}", address.host, address.port)).await?;
            scheduler.cancel_job(CancelJobParams { job_id: job.into() }).await.map_err(Box::new)?;
            Ok::<(), Box<dyn std::error::Error>>(())
        };
        // (If the scheduler cannot be reached there is nothing more to do.)
        _ = runtime.block_on(async { tokio::time::timeout(CALL_OFF, told).await });
    }
}

/// The state of a source's rows, made on a cluster in about so many `tasks` (by default as the size of the data asks for);
/// `with_hc` keeps sums for HC0 and HC1. It is the state of one machine, in bits. Through `job` it can be called off.
///
/// # Errors
/// If no scheduler answers, if the cluster is not of this program, if the source is not where others could read it, if the
/// rows do not fit the design, or if the job fails.
pub fn state_of(
    address: &Address,
    source: &Source,
    design: &Design,
    na: NaPolicy,
    with_hc: bool,
    tasks: Option<u64>,
    job: &Job,
) -> Result<TableState, ClusterError> {
    let bytes = source.bytes_total().unwrap_or(0);
    let part = match tasks {
        Some(tasks) => bytes.div_ceil(tasks.clamp(1, TASKS)),
        None => PART_BYTES.max(bytes.div_ceil(TASKS)),
    };
    let table = PartsTable::new(source, part)?;
    let order = Order::new(design, na, with_hc, true);
    answers(address)?;
    let failed = |error: &dyn fmt::Display| ClusterError::of_engine(&address.to_string(), &error.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let bytes = runtime.block_on(run(address, table, order, job));
    job.set(None);
    if job.called_off.load(Ordering::SeqCst) {
        return Err(ClusterError::CalledOff);
    }
    let bytes = bytes.map_err(|error| failed(&error))?;
    Ok(TableState::from_bytes(&bytes)?)
}

/// Whether anything listens: the engine itself would wait long.
pub(crate) fn answers(address: &Address) -> Result<(), ClusterError> {
    let unreachable = |message: String| ClusterError::Unreachable { address: address.to_string(), message };
    let found = (address.host.trim_matches(['[', ']']), address.port).to_socket_addrs();
    let found: Vec<_> = found.map_err(|error| unreachable(error.to_string()))?.collect();
    let mut message = "the host has no address".to_owned();
    for socket in found {
        match TcpStream::connect_timeout(&socket, ANSWER) {
            Ok(_) => return Ok(()),
            Err(error) => message = error.to_string(),
        }
    }
    Err(unreachable(message))
}

async fn run(address: &Address, table: PartsTable, order: Order, job: &Job) -> Result<Vec<u8>, DataFusionError> {
    let config = SessionConfig::new_with_ballista()
        // Asking again and again costs some hundredths of a second; what is told may be lost, and with it the fit's end.
        .set_bool(BALLISTA_CLIENT_PULL, true)
        .with_batch_size(BATCH_ROWS)
        .with_ballista_grpc_client_max_message_size(MESSAGE_BYTES)
        .with_ballista_job_name(&order.design.formula)
        .with_ballista_override_create_grpc_client_endpoint(links::watched())
        .with_ballista_logical_extension_codec(Arc::new(Logical::default()))
        .with_ballista_physical_extension_codec(Arc::new(Physical::default()));
    let state = SessionStateBuilder::new().with_default_features().with_config(config).build();
    let session = SessionContext::remote_with_state(&address.to_string(), state).await?;
    let named = |name: &str| Expr::Column(Column::new_unqualified(name));
    let mut arguments = vec![lit(order.to_text().map_err(|error| DataFusionError::External(Box::new(error)))?)];
    arguments.extend(order.columns.iter().map(|name| named(name)));
    arguments.push(named(PLACE));
    let asked = session.read_table(Arc::new(table))?.aggregate(vec![], vec![hat_moments().call(arguments)])?;
    let tasks = Arc::new(asked.task_ctx());
    let plan = asked.create_physical_plan().await?;
    job.set(Some((address.clone(), Arc::clone(&plan))));
    let batches = collect(plan, tasks).await?;
    let state =
        batches.iter().find(|batch| batch.num_rows() > 0).map(|batch| batch.column(0).as_binary::<i64>().value(0));
    state.map(<[u8]>::to_vec).ok_or_else(|| DataFusionError::Internal("the job gave no state".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let read = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        assert_eq!(read("df://node-1:6000").unwrap(), "df://node-1:6000");
        assert_eq!(read("df://10.0.0.7").unwrap(), "df://10.0.0.7:50050");
        for wrong in ["node:6000", "df://", "df://node:port", "df://node:70000", "http://node:1", "df://a b:1"] {
            assert!(read(wrong).unwrap_err().to_string().contains("expected df://HOST"), "{wrong}");
        }
    }

    #[test]
    fn nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = answers(&Address { host: "127.0.0.1".into(), port }).unwrap_err();
        assert!(matches!(error, ClusterError::Unreachable { .. }), "{error}");
    }
}
