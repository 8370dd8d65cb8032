//! Programs that do not outlive who runs them.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// The kernel kills the program that `command` starts when the thread that starts it ends, in whatever
/// way: by SIGKILL too. So it has to be the thread that also waits for the program. What that program
/// has started itself is not killed.
pub fn end_with_this_thread(command: &mut Command) {
    let parent = Pid::this();
    let tie = move || -> io::Result<()> {
        set_pdeathsig(Signal::SIGKILL)?;
        // Between the fork and here nobody was told.
        if getppid() == parent {
            Ok(())
        } else {
            Err(Errno::ESRCH.into())
        }
    };
    // SAFETY: between fork and exec only two system calls are made, prctl(2) and getppid(2); nothing
    // is allocated, and no lock is taken.
    unsafe { command.pre_exec(tie) };
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;
    use std::thread;

    use super::*;

    #[test]
    fn a_program_ends_with_its_thread_and_not_before() {
        let start = || {
            let mut command = Command::new("sleep");
            command.arg("60").stdin(Stdio::null());
            end_with_this_thread(&mut command);
            command.spawn().unwrap()
        };
        let mut here = start();
        let mut orphan = thread::spawn(start).join().unwrap();
        let status = orphan.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
        assert!(here.try_wait().unwrap().is_none());
        here.kill().unwrap();
        here.wait().unwrap();
    }
}
