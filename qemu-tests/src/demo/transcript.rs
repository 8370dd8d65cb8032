//! Picks from what a machine prints what is worth showing to people.

use crate::console::{BEGIN, END, Line};

/// Follows a machine line by line.
#[derive(Debug)]
pub struct Transcript {
    phase: Phase,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// From power-on or a restart to the shell: all but the firmware's and empty lines.
    Starting,
    /// At the shell: the prompt and the typed line are told otherwise, answers are shown.
    Ready,
}

impl Transcript {
    /// At power-on.
    pub const fn new() -> Self {
        Self {
            phase: Phase::Starting,
        }
    }

    /// What to show of `line`, the next one of the machine.
    pub fn shows<'a>(&mut self, line: &'a Line) -> Option<&'a str> {
        let text = match line {
            Line::Answer(text) => {
                let mark = text.starts_with(BEGIN) || text.starts_with(END);
                return (!mark && !text.is_empty()).then_some(text);
            }
            Line::Console(text) => text,
        };
        if text.starts_with("slotmgr-demo: ready") {
            self.phase = Phase::Ready;
        } else if text.starts_with("BdsDxe:") || text.starts_with("slotmgr-grub:") {
            self.phase = Phase::Starting;
        }
        (self.phase == Phase::Starting && is_news(text)).then_some(text)
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
        let said = |text: &str| Line::Console(text.to_owned());
        let answered = |text: &str| Line::Answer(text.to_owned());
        let lines = [
            (said("BdsDxe: starting Boot0001"), false),
            (said("  "), false),
            (said("Welcome to GRUB!"), false),
            (said("slotmgr-grub: slot A, confirmed"), true),
            (said("Booting in blind mode"), false),
            (said("slotmgr-demo: started slot=A version=1"), true),
            (said("slotmgr-demo: ready slot=A version=1 trial=0"), false),
            (answered("rig-begin 1"), false),
            (said("demo-A# { echo rig-begin 1; slotmgr status; }"), false),
            (answered("slot A"), true),
            (said("[   14.633330] a word of the kernel"), false),
            (answered(""), false),
            (answered("rig-end 1 0"), false),
            (said("demo-A# reboot -f"), false),
            (said("BdsDxe: starting Boot0001"), false),
            (said("slotmgr-grub: slot B, tries left 1"), true),
            (said("*** version 2 ***"), true),
        ];
        let mut transcript = Transcript::new();
        for (line, shown) in lines {
            assert_eq!(transcript.shows(&line).is_some(), shown, "{line:?}");
        }
    }
}
