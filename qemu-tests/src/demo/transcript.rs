//! Picks from a machine's console what is worth showing to people.

/// Follows the console line by line.
#[derive(Debug)]
pub struct Transcript {
    phase: Phase,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// From power-on or a restart to the shell: all but the firmware's and empty lines.
    Starting,
    /// At the shell: the prompt and the typed line, which are told otherwise.
    Waiting,
    /// Between the marks of [`crate::console::Console::run`]: the output of a command.
    Running,
}

impl Transcript {
    /// At power-on.
    pub const fn new() -> Self {
        Self {
            phase: Phase::Starting,
        }
    }

    /// Whether to show `line`, the next one of the console.
    pub fn shows(&mut self, line: &str) -> bool {
        match self.phase {
            Phase::Starting if line.starts_with("slotmgr-demo: ready") => {
                self.phase = Phase::Waiting;
                false
            }
            Phase::Starting => is_news(line),
            _ if line.starts_with("BdsDxe:") || line.starts_with("slotmgr-grub:") => {
                self.phase = Phase::Starting;
                is_news(line)
            }
            Phase::Waiting => {
                if line.starts_with("rig-begin ") {
                    self.phase = Phase::Running;
                }
                false
            }
            Phase::Running if line.starts_with("rig-end ") => {
                self.phase = Phase::Waiting;
                false
            }
            Phase::Running => !line.is_empty(),
        }
    }
}

/// What firmware and GRUB print at every start, and that says nothing: the machine has no screen.
const NO_NEWS: [&str; 4] = [
    "BdsDxe:",
    "Welcome to GRUB!",
    "error: no suitable video mode found.",
    "Booting in blind mode",
];

fn is_news(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !NO_NEWS.iter().any(|text| line.starts_with(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_session() {
        let console = [
            ("BdsDxe: starting Boot0001", false),
            ("  ", false),
            ("Welcome to GRUB!", false),
            ("slotmgr-grub: slot A, confirmed", true),
            ("Booting in blind mode", false),
            ("slotmgr-demo: started slot=A version=1", true),
            ("slotmgr-demo: ready slot=A version=1 trial=0", false),
            ("demo-A# printf 'rig-%s 1\\n' begin; slotmgr status", false),
            ("rig-begin 1", false),
            ("slot A", true),
            ("", false),
            ("rig-end 1 0", false),
            ("demo-A# reboot -f", false),
            ("BdsDxe: starting Boot0001", false),
            ("slotmgr-grub: slot B, tries left 1", true),
            ("*** version 2 ***", true),
        ];
        let mut transcript = Transcript::new();
        for (line, shown) in console {
            assert_eq!(transcript.shows(line), shown, "{line}");
        }
    }
}
