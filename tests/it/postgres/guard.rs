//! Ends a cluster when this process is gone and has not done it: killed, or at the end with a server that is shared.
//!
//! A shell reads the server's process id from a pipe. However this process ends, the pipe closes; then the shell stops
//! that server and removes the folder. It has its own process group, so that a signal to this one does not end both.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = r#"
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ] && kill -QUIT "$pid"; then
    tries=0
    while kill -0 "$pid" && [ $tries -lt 500 ]; do sleep 0.01; tries=$((tries + 1)); done
fi
rm -rf "$1"
"#;

pub(super) struct Guard(Child);

impl Guard {
    pub(super) fn over(folder: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "guard"]).arg(folder).current_dir("/").process_group(0);
        Self(shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// This server runs; none for `None`. If the shell is gone, the second line of defence is: nothing depends on it.
    pub(super) fn tell(&mut self, pid: Option<u32>) {
        let line = pid.map_or(String::new(), |pid| pid.to_string());
        let _ = self.0.stdin.as_ref().map(|mut pipe| writeln!(pipe, "{line}"));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
