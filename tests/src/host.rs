//! The real binary as a process on port 0: started, talked to, killed, stopped and started again on the same data folder.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::client::Door;
use crate::log::Log;

/// How long a start may take until the ready line: the first one on a new folder compiles the built-in handlers.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// How long a process may take to end after SIGTERM.
const END_LIMIT: Duration = Duration::from_secs(60);

/// How often the end of a process is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What to start.
#[derive(Debug, Clone)]
pub struct HostBuilder {
    binary: Option<PathBuf>,
    data: Option<PathBuf>,
    config: String,
    flags: Vec<String>,
    variables: Vec<&'static str>,
    admin_token: Option<String>,
    events_token: Option<String>,
    admin_listen: String,
    events_listen: String,
}

impl Default for HostBuilder {
    fn default() -> Self {
        Self {
            binary: None,
            data: None,
            config: String::new(),
            flags: Vec::new(),
            variables: Vec::new(),
            admin_token: None,
            events_token: None,
            admin_listen: "127.0.0.1:0".into(),
            events_listen: "127.0.0.1:0".into(),
        }
    }
}

impl HostBuilder {
    /// Another binary than the one under test: the benchmark's.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// A given data folder, which outlives the host. Without it the host gets a temporary one.
    pub fn data(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data = Some(dir.into());
        self
    }

    /// The configuration file's text.
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.config = toml.into();
        self
    }

    /// One more argument.
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// A variable of the environment, set to `1`.
    pub fn variable(mut self, name: &'static str) -> Self {
        self.variables.push(name);
        self
    }

    /// The token that `Host::admin` shows.
    pub fn admin_token(mut self, token: &str) -> Self {
        self.admin_token = Some(token.into());
        self
    }

    /// The token that `Host::events` shows.
    pub fn events_token(mut self, token: &str) -> Self {
        self.events_token = Some(token.into());
        self
    }

    /// Another address for the admin listener.
    pub fn admin_listen(mut self, address: &str) -> Self {
        self.admin_listen = address.into();
        self
    }

    /// Another address for the events listener.
    pub fn events_listen(mut self, address: &str) -> Self {
        self.events_listen = address.into();
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it ends, or is not ready in time.
    pub async fn start(self) -> Host {
        match self.try_start().await {
            Ok(host) => host,
            Err(refusal) => panic!("the host did not start: {refusal:?}"),
        }
    }

    /// Starts it; a host that ends before it is ready is an answer too.
    pub async fn try_start(self) -> Result<Host, Refusal> {
        let temporary = tempfile::tempdir().expect("a temporary folder can be made");
        let data = self.data.clone().unwrap_or_else(|| {
            let data = temporary.path().join("data");
            if self.binary.is_none() {
                crate::warm::fill(&data, crate::binary::path());
            }
            data
        });
        let mut host = Host { builder: self, temporary, data, log: Log::default(), running: None };
        host.write_config();
        host.launch().await?;
        Ok(host)
    }
}

/// A host that ended instead of getting ready.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said on standard error.
    pub stderr: String,
}

/// A running host, or one between two runs. Dropping it kills the process and removes a temporary data folder.
#[derive(Debug)]
pub struct Host {
    builder: HostBuilder,
    temporary: TempDir,
    data: PathBuf,
    log: Log,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    events: Door,
    admin: Door,
    ready: Value,
}

impl Host {
    /// What to start.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Starts one with the defaults.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// The events listener, with the builder's token.
    pub fn events(&self) -> &Door {
        &self.running().events
    }

    /// The admin listener, with the builder's token.
    pub fn admin(&self) -> &Door {
        &self.running().admin
    }

    /// The ready line, as printed.
    pub fn ready_line(&self) -> &Value {
        &self.running().ready
    }

    /// The status listener, if the flags asked for one.
    pub fn status(&self) -> Option<Door> {
        let address = self.ready_line()["status"].as_str()?.parse().ok()?;
        Some(Door::new(address, None))
    }

    /// The process' id.
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it wrote to standard error, over all its runs.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Moves the host's clock forward and gives its new time back. Everything that waits on the clock looks again.
    pub async fn advance(&self, by: Duration) -> String {
        let millis = u64::try_from(by.as_millis()).expect("tests move the clock by less than a geological age");
        let answer = self.admin().post("/test-clock", &json!({ "advance_ms": millis })).await.expect(200);
        answer.json()["now"].as_str().expect("the test clock tells the time").to_owned()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&mut self) {
        let mut running = self.running.take().expect("only a running host can be killed");
        running.child.kill().expect("the host can be killed");
        running.child.wait().expect("the host can be waited for");
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits for the end of a host that was told to stop.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn ended(&mut self) -> ExitStatus {
        let running = self.running.as_mut().expect("only a running host can end");
        let status = wait_for_end(&mut running.child, END_LIMIT).await;
        let Some(status) = status else { panic!("the host did not end within {END_LIMIT:?}") };
        self.running = None;
        status
    }

    /// Sends SIGHUP after the configuration file was given this text.
    pub fn reload(&mut self, toml: &str) {
        self.builder.config = toml.into();
        self.write_config();
        self.signal(Signal::HUP);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id is positive");
        rustix::process::kill_process(pid, signal).expect("the host's process exists");
    }

    /// Starts it again on the same data folder, after stopping it with SIGTERM if it runs.
    pub async fn restart(&mut self) {
        if self.running.is_some() {
            self.terminate().await;
        }
        if let Err(refusal) = self.launch().await {
            panic!("the host did not start again: {refusal:?}");
        }
    }

    /// Starts it again with another configuration.
    pub async fn restart_with(&mut self, toml: &str) {
        if self.running.is_some() {
            self.terminate().await;
        }
        self.builder.config = toml.into();
        self.write_config();
        self.restart().await;
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the host runs")
    }

    fn config_file(&self) -> PathBuf {
        self.temporary.path().join("tenterhook.toml")
    }

    fn write_config(&self) {
        std::fs::write(self.config_file(), &self.builder.config).expect("the configuration can be written");
    }

    async fn launch(&mut self) -> Result<(), Refusal> {
        let mut child = self.command().spawn().expect("the binary under test can be started");
        let stderr = child.stderr.take().expect("standard error is piped");
        let stdout = child.stdout.take().expect("standard output is piped");
        self.log.follow(stderr);
        let line = tokio::time::timeout(READY_LIMIT, first_line(stdout)).await;
        let ready = match line {
            Ok(Some(line)) => serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("no ready line ({error}): {line:?}")),
            Ok(None) => return Err(self.refused(child).await),
            Err(_) => {
                child.kill().ok();
                self.log.print();
                panic!("the host was not ready within {READY_LIMIT:?}");
            }
        };
        assert_eq!(ready["ready"], true, "the ready line says so: {ready}");
        let events = Door::new(address(&ready, "events"), self.builder.events_token.clone());
        let admin = Door::new(address(&ready, "admin"), self.builder.admin_token.clone());
        self.running = Some(Running { child, events, admin, ready });
        Ok(())
    }

    async fn refused(&self, mut child: Child) -> Refusal {
        let status = wait_for_end(&mut child, END_LIMIT).await;
        let Some(status) = status else {
            child.kill().ok();
            panic!("the host closed its standard output and neither got ready nor ended");
        };
        // The reader of standard error is a thread of its own; it has everything soon after the end.
        let log = self.log.clone();
        let said = crate::wait::within(Duration::from_secs(5), "words of a host that refuses to start", async || {
            let text = log.text();
            (!text.is_empty()).then_some(text)
        });
        Refusal { status, stderr: said.await }
    }

    fn command(&self) -> Command {
        let builder = &self.builder;
        let binary = builder.binary.as_deref().unwrap_or_else(|| crate::binary::path());
        let mut command = Command::new(binary);
        command.arg("serve").arg("--data").arg(&self.data).arg("--config").arg(self.config_file());
        command.args(["--events-listen", &builder.events_listen, "--admin-listen", &builder.admin_listen]).args(&builder.flags);
        // What the developer's shell says must not change what is tested.
        let inherited = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("TENTERHOOK_"));
        for name in inherited {
            command.env_remove(name);
        }
        command.envs(builder.variables.iter().map(|name| (name, "1")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log.print();
        }
        if let Some(mut running) = self.running.take() {
            running.child.kill().ok();
            running.child.wait().ok();
        }
    }
}

/// The first line of a stream, which is then read to its end so that the writer never blocks. None when the stream ends before it.
async fn first_line(stream: impl Read + Send + 'static) -> Option<String> {
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().and_then(Result::ok);
        send.send(first).ok();
        lines.for_each(drop);
    });
    receive.await.ok().flatten()
}

async fn wait_for_end(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    None
}

fn address(ready: &Value, door: &str) -> SocketAddr {
    let said = ready[door].as_str().with_context(|| format!("the ready line names the {door} listener: {ready}"));
    said.and_then(|said| Ok(said.parse()?)).unwrap_or_else(|error| panic!("{error:#}"))
}
