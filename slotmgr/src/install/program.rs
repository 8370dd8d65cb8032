//! Programs that take part in an installation: hooks, handlers, and makers of file systems.
//!
//! What they say to us in lines of a protocol is told to whoever watches.

use std::fmt;
use std::time::Duration;

use crate::program::{self, End, Stop, Streams, Terms};

/// Variables that a program gets besides those of slotmgr itself.
pub type Environment = Vec<(String, String)>;

/// How long a program of this machine that makes or checks a file system may take.
pub const TOOL_LIMIT: Duration = Duration::from_secs(600);

/// Output that is kept of one program, in bytes.
const MAX_OUTPUT: usize = 16 * 1024;

/// A program to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// For people: "the pre-install handler".
    pub name: String,
    /// Program and arguments; no shell.
    pub command: Vec<String>,
    /// What it is told.
    pub environment: Environment,
    /// How long it may take.
    pub limit: Duration,
}

/// A program failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} {end}{}", said(last))]
pub struct ProgramError {
    /// Which.
    pub name: String,
    /// How it ended.
    pub end: End,
    /// The last line that it wrote.
    pub last: String,
    /// Everything that it wrote, up to the cap.
    pub output: String,
}

fn said(last: &str) -> String {
    if last.is_empty() {
        String::new()
    } else {
        format!(": {last}")
    }
}

/// A line `<< KIND TEXT` of a hook or handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub kind: MessageKind,
    /// What it says.
    pub text: String,
}

/// The kinds of [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// `handler`
    Handler,
    /// `image`
    Image,
    /// `bootloader`
    Bootloader,
    /// `progress`: RAUC does not know it
    Progress,
    /// `error`
    Error,
    /// `debug`
    Debug,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Program {
    /// Runs it to its end; gives back what it wrote.
    ///
    /// # Errors
    /// When it does not end with 0, in time, by itself.
    pub fn run(&self, stop: &Stop) -> Result<String, ProgramError> {
        self.run_and_tell(stop, &mut |_| {})
    }

    /// The same; what it says to us is told at once.
    ///
    /// # Errors
    /// When it does not end with 0, in time, by itself.
    pub fn run_and_tell(
        &self,
        stop: &Stop,
        said: &mut dyn FnMut(&Message),
    ) -> Result<String, ProgramError> {
        let terms = Terms {
            limit: self.limit,
            keep: MAX_OUTPUT,
            streams: Streams::Together,
        };
        let mut command = program::command(&self.command);
        let variables = self.environment.iter().map(|(name, value)| (name, value));
        let mut heard = |line: &str| {
            if let Some(message) = message(line) {
                tell(&self.name, &message);
                said(&message);
            }
        };
        let ran = program::run_and_tell(command.envs(variables), &terms, stop, &mut heard);
        if ran.end.is_success() {
            return Ok(ran.output);
        }
        let last = program::last_line(&ran.output);
        Err(ProgramError {
            name: self.name.clone(),
            end: ran.end,
            last: message(last).map_or_else(|| last.to_owned(), |message| message.text),
            output: ran.output,
        })
    }
}

fn tell(name: &str, message: &Message) {
    match message.kind {
        MessageKind::Error => tracing::error!("{name}: {message}"),
        MessageKind::Debug => tracing::debug!("{name}: {message}"),
        MessageKind::Handler
        | MessageKind::Image
        | MessageKind::Bootloader
        | MessageKind::Progress => {
            tracing::info!("{name}: {message}");
        }
    }
}

/// What a program said in the form that is meant for us.
pub fn messages(output: &str) -> impl Iterator<Item = Message> {
    output.lines().filter_map(message)
}

fn message(line: &str) -> Option<Message> {
    let (kind, text) = line.strip_prefix("<< ")?.split_once(' ')?;
    let kind = match kind {
        "handler" => MessageKind::Handler,
        "image" => MessageKind::Image,
        "bootloader" => MessageKind::Bootloader,
        "progress" => MessageKind::Progress,
        "error" => MessageKind::Error,
        "debug" => MessageKind::Debug,
        _ => return None,
    };
    Some(Message {
        kind,
        text: text.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(script: &str, limit: Duration) -> Program {
        Program {
            name: "the pre-install handler".to_owned(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            environment: vec![("RAUC_SLOTS".to_owned(), "1 2".to_owned())],
            limit,
        }
    }

    #[test]
    fn what_it_says_and_how_it_fails() {
        let limit = Duration::from_secs(60);
        let stop = Stop::default();
        assert_eq!(
            program("echo $RAUC_SLOTS", limit).run(&stop).unwrap(),
            "1 2\n"
        );
        let error = program("echo '<< error battery is low'; exit 3", limit)
            .run(&stop)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the pre-install handler failed with exit code 3: battery is low"
        );
        let error = program("sleep 1000", Duration::from_millis(200))
            .run(&stop)
            .unwrap_err();
        assert!(matches!(error.end, End::TimedOut(_)), "{error}");
    }

    #[test]
    fn the_protocol() {
        let said =
            "noise\n<< image writing  fonts \n<<image x\n<< image\n<< weather rain\n<< error no\n";
        let said: Vec<_> = messages(said)
            .map(|message| (message.kind, message.text))
            .collect();
        let expected = [
            (MessageKind::Image, "writing  fonts".to_owned()),
            (MessageKind::Error, "no".to_owned()),
        ];
        assert_eq!(said, expected);
    }
}
