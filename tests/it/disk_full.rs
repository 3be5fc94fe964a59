//! A full disk: 503 while it lasts, recovery without a restart when space returns, and nothing acknowledged is lost.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tenterhook_tests::wait::within;
use tenterhook_tests::{DEADLINE, Host, Sink};

use crate::events::assert_error;
use crate::shared::{hook_to, id};

/// A small file system of its own. Dropping it unmounts.
struct Mount(tempfile::TempDir);

impl Mount {
    /// None, with a loud message, only where mounting is not permitted.
    fn tmpfs(mebibytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let options = format!("size={mebibytes}m");
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output().expect("mount can be started");
        if output.status.success() {
            return Some(Self(dir));
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let not_permitted = ["must be superuser", "ermission denied", "not permitted"].iter().any(|reason| said.contains(reason));
        assert!(not_permitted, "mount failed: {said}");
        skipped(&said);
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

#[allow(clippy::print_stderr, reason = "a test that did not run must say so")]
fn skipped(why: &str) {
    eprintln!("\n*** NOT TESTED: a full disk. This machine does not permit mounting a tmpfs (run as root): {why}\n");
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0.path()).status().ok();
    }
}

/// Fills the file system until it has at most `left` bytes free.
fn fill(dir: &Path, left: u64) {
    let mut ballast = File::create(dir.join("ballast")).expect("a file can be made");
    let block = vec![0xa5; 64 << 10];
    loop {
        let stat = rustix::fs::statvfs(dir).expect("a mounted folder has figures");
        if stat.f_bavail * stat.f_frsize <= left || ballast.write_all(&block).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_disk_below_the_floor_is_503_and_recovers_when_space_returns() {
    story("16 MiB", 8 << 20).await;
}

#[tokio::test]
async fn a_disk_without_a_byte_left_is_503_and_recovers_when_space_returns() {
    story("1 MiB", 0).await;
}

async fn story(floor: &str, left: u64) {
    let Some(mount) = Mount::tmpfs(256) else { return };
    let config = format!("[store]\nsegment_bytes = \"8 MiB\"\nfree_floor_bytes = \"{floor}\"\nretention_bytes = \"32 MiB\"\n");
    let mut host = Host::builder().data(mount.path().join("data")).config(config).start().await;
    let sink = Sink::start().await;
    hook_to(&host, &sink, "shop", "/in").await;
    let mut acknowledged = HashSet::new();
    let post = async |host: &Host, bytes: usize| {
        let event = json!({ "source": "shop", "event": "sold", "data": { "text": "x".repeat(bytes) } });
        host.events().call(Method::POST, "/events").json(&event).send().await
    };
    acknowledged.insert(id(&post(&host, 100).await.expect(202).json()["events"][0]));
    fill(mount.path(), left);
    let refused = within(DEADLINE, "a 503 for want of room", async || {
        let answer = post(&host, 20_000).await;
        if answer.status == 202 {
            acknowledged.insert(id(&answer.json()["events"][0]));
            return None;
        }
        Some(answer.expect(503))
    })
    .await;
    assert_error(&refused);
    assert!(refused.header("retry-after").parse::<u32>().is_ok(), "{:?}", refused.headers);
    host.admin().get("/health/live").await.expect(200);
    let ready = host.events().get("/health/ready").await.expect(503).json();
    assert!(ready["ready"] == false && ready["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "{ready}");
    std::fs::remove_file(mount.path().join("ballast")).expect("the ballast can go");
    let recovered = within(Duration::from_secs(60), "events are accepted again", async || {
        let answer = post(&host, 100).await;
        (answer.status == 202).then_some(answer)
    })
    .await;
    acknowledged.insert(id(&recovered.json()["events"][0]));
    host.events().get("/health/ready").await.expect(200);
    // What was acknowledged before, and while it got tight, is on the disk: a kill and a start show it.
    host.kill9();
    host.restart().await;
    acknowledged.insert(id(&post(&host, 100).await.expect(202).json()["events"][0]));
    let all = |sink: &Sink| acknowledged.is_subset(&sink.unique_ids("/in")).then_some(());
    sink.wait_until("every acknowledged event", all).await;
}
