//! The trial as a state machine: when which check runs, and how it ends.
//!
//! There is no clock, no thread and no file here: time is passed in, as milliseconds of a clock
//! that only goes forward. Whatever happens, a step at or after the deadline ends the trial.

/// Milliseconds of a monotonic clock that started with the machine.
pub type Millis = u64;

/// The number of a check, from 0.
pub type CheckId = usize;

/// What holds for the trial as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// From the beginning of the trial to its end at the latest.
    pub window: Millis,
    /// Every required check must have passed again and again for so long.
    pub soak: Millis,
    /// The machine must have run for so long.
    pub min_uptime: Millis,
    /// So many checks run at once; 0 is taken as 1.
    pub parallel: usize,
}

/// Whether a check decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Demand {
    /// Without it the system is not kept.
    Required,
    /// Its failure is only told.
    Wanted,
}

/// What holds for one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckRules {
    /// Whether it decides.
    pub demand: Demand,
    /// So many failures in a row are forgiven.
    pub retries: u32,
    /// So many failures in all end it, forgiven or not; `None` counts only those in a row.
    pub threshold: Option<u32>,
    /// From the end of one run to the beginning of the next.
    pub interval: Millis,
    /// A run that has not ended after so long is stuck: whoever should have ended it could not.
    pub longest: Millis,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time passed.
    Tick,
    /// A run of this check ended well.
    Passed(CheckId),
    /// A run of this check failed.
    Failed(CheckId),
    /// A run of this check failed, and asks that nothing more be tried.
    GaveUp(CheckId),
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Feed the watchdog, and start these checks.
    Go(Vec<CheckId>),
    /// All is proven. Feed the watchdog a last time; the commit must not take longer than it lasts.
    Confirm,
    /// The system is not kept. The watchdog is not fed any more.
    Fail(Reason),
}

/// Why a system is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A required check failed once more than is forgiven.
    Check(CheckId),
    /// A required check said that this system will not get better: further tries are not wanted.
    GaveUp(CheckId),
    /// A required check ran on long after its own limit.
    Stuck(CheckId),
    /// The window passed.
    Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    /// Runs next at this time.
    Due(Millis),
    /// Runs since.
    Running(Millis),
    /// Does not run again: a wanted check that passed, or that is given up.
    Settled,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Check {
    rules: CheckRules,
    phase: Phase,
    /// In a row.
    failures: u32,
    /// In all; counted only where a threshold asks for it.
    in_all: u32,
    /// The ends of the first and of the last run of the present row of passes.
    passes: Option<(Millis, Millis)>,
}

/// A trial under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window {
    rules: Rules,
    deadline: Millis,
    now: Millis,
    checks: Vec<Check>,
    end: Option<Step>,
}

impl Window {
    /// The trial begins now, with every check due.
    #[must_use]
    pub fn open(now: Millis, rules: Rules, checks: Vec<CheckRules>) -> Window {
        Window::resume(now, now.saturating_add(rules.window), rules, checks)
    }

    /// A trial that began earlier goes on: every check is due once more, and the deadline stays
    /// what it was. One that lies further away than the window is not believed.
    #[must_use]
    pub fn resume(now: Millis, deadline: Millis, rules: Rules, checks: Vec<CheckRules>) -> Window {
        let check = |rules| Check {
            rules,
            phase: Phase::Due(now),
            failures: 0,
            in_all: 0,
            passes: None,
        };
        // Without required checks all would be proven at once, however late.
        let end = (deadline <= now).then_some(Step::Fail(Reason::Window));
        Window {
            rules,
            deadline: deadline.min(now.saturating_add(rules.window)),
            now,
            checks: checks.into_iter().map(check).collect(),
            end,
        }
    }

    /// When the trial ends at the latest. Nothing moves it.
    #[must_use]
    pub fn deadline(&self) -> Millis {
        self.deadline
    }

    /// When something is to be done although nothing happens; never after the deadline.
    #[must_use]
    pub fn next_tick(&self) -> Millis {
        let due = self.checks.iter().filter_map(|check| match check.phase {
            // One that waits for a free place is woken by the end of another.
            Phase::Due(at) => (at > self.now).then_some(at),
            Phase::Running(since) => Some(since.saturating_add(check.rules.longest)),
            Phase::Settled => None,
        });
        let uptime = (self.rules.min_uptime > self.now).then_some(self.rules.min_uptime);
        due.chain(uptime)
            .min()
            .map_or(self.deadline, |at| at.min(self.deadline))
    }

    /// Takes in what happened, and says what is to be done. Once the trial has ended, the answer
    /// stays what it is.
    #[must_use]
    pub fn step(&mut self, now: Millis, event: Event) -> Step {
        if let Some(end) = &self.end {
            return end.clone();
        }
        let proven_before = self.proven() && !self.required_runs();
        // A clock that goes backwards stands still.
        self.now = self.now.max(now);
        let step = if self.now < self.deadline {
            self.decide(event)
        } else if proven_before {
            // Only a check that does not decide was still waited for.
            Step::Confirm
        } else {
            // What ends now ends too late.
            Step::Fail(Reason::Window)
        };
        if !matches!(step, Step::Go(_)) {
            self.end = Some(step.clone());
        }
        step
    }

    fn decide(&mut self, event: Event) -> Step {
        let failed = match event {
            Event::Tick => None,
            Event::Passed(id) => {
                self.passed(id);
                None
            }
            Event::Failed(id) => self.failed(id),
            Event::GaveUp(id) => self.gave_up(id),
        };
        if let Some(reason) = failed.or_else(|| self.stuck()) {
            return Step::Fail(reason);
        }
        if self.proven() {
            // Nothing new is started then: the runs under way have the last word.
            if !self.required_runs() && self.wanted_settled() {
                return Step::Confirm;
            }
            return Step::Go(self.start(&[Demand::Wanted]));
        }
        Step::Go(self.start(&[Demand::Required, Demand::Wanted]))
    }

    fn passed(&mut self, id: CheckId) {
        let now = self.now;
        let Some(check) = self.running(id) else {
            return;
        };
        check.failures = 0;
        check.passes = Some((check.passes.map_or(now, |(first, _)| first), now));
        check.phase = match check.rules.demand {
            Demand::Required => Phase::Due(now.saturating_add(check.rules.interval)),
            Demand::Wanted => Phase::Settled,
        };
    }

    fn failed(&mut self, id: CheckId) -> Option<Reason> {
        let now = self.now;
        let check = self.running(id)?;
        check.failures = check.failures.saturating_add(1);
        check.passes = None;
        check.phase = Phase::Due(now.saturating_add(check.rules.interval));
        let too_often = check.rules.threshold.is_some_and(|threshold| {
            check.in_all = check.in_all.saturating_add(1);
            check.in_all >= threshold
        });
        if check.failures <= check.rules.retries && !too_often {
            return None;
        }
        check.phase = Phase::Settled;
        (check.rules.demand == Demand::Required).then_some(Reason::Check(id))
    }

    /// Nothing is forgiven then. One that does not decide cannot ask for it.
    fn gave_up(&mut self, id: CheckId) -> Option<Reason> {
        let check = self.running(id)?;
        check.phase = Phase::Settled;
        check.passes = None;
        (check.rules.demand == Demand::Required).then_some(Reason::GaveUp(id))
    }

    /// A check that is not running cannot end: such an event says nothing.
    fn running(&mut self, id: CheckId) -> Option<&mut Check> {
        let check = self.checks.get_mut(id)?;
        matches!(check.phase, Phase::Running(_)).then_some(check)
    }

    fn stuck(&mut self) -> Option<Reason> {
        for (id, check) in self.checks.iter_mut().enumerate() {
            let Phase::Running(since) = check.phase else {
                continue;
            };
            if self.now < since.saturating_add(check.rules.longest) {
                continue;
            }
            if check.rules.demand == Demand::Required {
                return Some(Reason::Stuck(id));
            }
            check.phase = Phase::Settled;
        }
        None
    }

    fn proven(&self) -> bool {
        self.now >= self.rules.min_uptime
            && self.of(Demand::Required).all(|check| {
                let row = check.passes;
                row.is_some_and(|(first, last)| last - first >= self.rules.soak)
            })
    }

    fn required_runs(&self) -> bool {
        self.of(Demand::Required)
            .any(|check| matches!(check.phase, Phase::Running(_)))
    }

    fn wanted_settled(&self) -> bool {
        self.of(Demand::Wanted)
            .all(|check| check.phase == Phase::Settled)
    }

    fn of(&self, demand: Demand) -> impl Iterator<Item = &Check> {
        let checks = self.checks.iter();
        checks.filter(move |check| check.rules.demand == demand)
    }

    /// Starts what is due while there is room, the longest due first: a check that comes round
    /// quickly keeps no other out.
    fn start(&mut self, demands: &[Demand]) -> Vec<CheckId> {
        let runs = |check: &&Check| matches!(check.phase, Phase::Running(_));
        let running = self.checks.iter().filter(runs).count();
        let room = self.rules.parallel.max(1).saturating_sub(running);
        let checks = self.checks.iter().enumerate();
        let mut due: Vec<(Millis, CheckId)> = checks
            .filter(|(_, check)| demands.contains(&check.rules.demand))
            .filter_map(|(id, check)| match check.phase {
                Phase::Due(at) if at <= self.now => Some((at, id)),
                _ => None,
            })
            .collect();
        due.sort_unstable();
        due.truncate(room);
        let mut started = Vec::new();
        for (_, id) in due {
            if let Some(check) = self.checks.get_mut(id) {
                check.phase = Phase::Running(self.now);
                started.push(id);
            }
        }
        started
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const RULES: Rules = Rules {
        window: 100,
        soak: 0,
        min_uptime: 0,
        parallel: 4,
    };

    fn required() -> CheckRules {
        CheckRules {
            demand: Demand::Required,
            retries: 0,
            threshold: None,
            interval: 5,
            longest: 40,
        }
    }

    fn wanted() -> CheckRules {
        CheckRules {
            demand: Demand::Wanted,
            ..required()
        }
    }

    fn go(ids: &[CheckId]) -> Step {
        Step::Go(ids.to_vec())
    }

    /// Plays a table of time, event, expected step.
    fn play(rules: Rules, checks: Vec<CheckRules>, table: &[(Millis, Event, Step)]) {
        let mut window = Window::open(0, rules, checks);
        for (now, event, expected) in table {
            assert_eq!(window.step(*now, *event), *expected, "at {now}: {event:?}");
        }
    }

    use Event::{Failed, GaveUp, Passed, Tick};

    #[test]
    fn without_soak_one_pass_is_enough_and_without_checks_nothing_is() {
        play(RULES, vec![], &[(0, Tick, Step::Confirm)]);
        play(
            RULES,
            vec![required(), required()],
            &[
                (0, Tick, go(&[0, 1])),
                (1, Passed(0), go(&[])),
                (2, Passed(1), Step::Confirm),
                (3, Failed(1), Step::Confirm),
            ],
        );
    }

    #[test]
    fn failures_are_forgiven_as_often_as_said_and_in_a_row() {
        let check = CheckRules {
            retries: 1,
            ..required()
        };
        let fail = Step::Fail(Reason::Check(0));
        play(
            RULES,
            vec![required()],
            &[(0, Tick, go(&[0])), (1, Failed(0), fail.clone())],
        );
        play(
            RULES,
            vec![check],
            &[
                (0, Tick, go(&[0])),
                (1, Failed(0), go(&[])),
                (5, Tick, go(&[])),
                (6, Tick, go(&[0])),
                (7, Failed(0), fail),
            ],
        );
    }

    #[test]
    fn failures_that_are_forgiven_are_counted_against_the_threshold() {
        let check = CheckRules {
            retries: 9,
            threshold: Some(2),
            ..required()
        };
        let rules = Rules { soak: 50, ..RULES };
        play(
            rules,
            vec![check],
            &[
                (0, Tick, go(&[0])),
                (1, Failed(0), go(&[])),
                (6, Tick, go(&[0])),
                (7, Passed(0), go(&[])),
                (12, Tick, go(&[0])),
                (13, Failed(0), Step::Fail(Reason::Check(0))),
            ],
        );
    }

    #[test]
    fn a_check_may_give_up_at_once_if_it_decides() {
        let patient = CheckRules {
            retries: 9,
            ..required()
        };
        let end = Step::Fail(Reason::GaveUp(0));
        let table = [(0, Tick, go(&[0])), (1, GaveUp(0), end)];
        play(RULES, vec![patient], &table);
        let table = [
            (0, Tick, go(&[0, 1])),
            (1, GaveUp(1), go(&[])),
            (2, Passed(0), Step::Confirm),
        ];
        play(RULES, vec![patient, wanted()], &table);
    }

    #[test]
    fn a_trial_that_goes_on_keeps_its_deadline_and_believes_no_later_one() {
        let resumed = |deadline| Window::resume(60, deadline, RULES, vec![required()]).deadline();
        assert_eq!(resumed(100), 100);
        assert_eq!(resumed(Millis::MAX), 160);
        let mut late = Window::resume(60, 50, RULES, vec![]);
        assert_eq!(late.step(60, Tick), Step::Fail(Reason::Window));
    }

    #[test]
    fn soak_is_a_row_of_passes_which_a_failure_breaks() {
        let rules = Rules { soak: 10, ..RULES };
        let check = CheckRules {
            retries: 1,
            ..required()
        };
        play(
            rules,
            vec![check],
            &[
                (0, Tick, go(&[0])),
                (1, Passed(0), go(&[])),
                (6, Tick, go(&[0])),
                (7, Failed(0), go(&[])),
                (12, Tick, go(&[0])),
                (13, Passed(0), go(&[])),
                (18, Tick, go(&[0])),
                (22, Passed(0), go(&[])),
                (27, Tick, go(&[0])),
                (28, Passed(0), Step::Confirm),
            ],
        );
    }

    #[test]
    fn wanted_checks_are_heard_and_do_not_decide() {
        let table = [
            (0, Tick, go(&[0, 1])),
            (1, Passed(0), go(&[])),
            (2, Failed(1), Step::Confirm),
        ];
        play(RULES, vec![required(), wanted()], &table);
        let hangs = [
            (0, Tick, go(&[0, 1])),
            (1, Passed(0), go(&[])),
            (40, Tick, Step::Confirm),
        ];
        play(RULES, vec![required(), wanted()], &hangs);
        let longest = CheckRules {
            longest: 1_000,
            ..wanted()
        };
        let deadline = [
            (0, Tick, go(&[0, 1])),
            (1, Passed(0), go(&[])),
            (99, Tick, go(&[])),
            (250, Tick, Step::Confirm),
        ];
        play(RULES, vec![required(), longest], &deadline);
    }

    #[test]
    fn a_required_check_that_nobody_can_end_fails_the_trial() {
        let table = [
            (0, Tick, go(&[0])),
            (39, Tick, go(&[])),
            (40, Passed(9), Step::Fail(Reason::Stuck(0))),
        ];
        play(RULES, vec![required()], &table);
    }

    #[test]
    fn uptime_is_waited_for_and_a_pass_at_the_deadline_is_too_late() {
        let rules = Rules {
            min_uptime: 50,
            ..RULES
        };
        play(
            rules,
            vec![required()],
            &[
                (0, Tick, go(&[0])),
                (1, Passed(0), go(&[])),
                (6, Tick, go(&[0])),
                (7, Passed(0), go(&[])),
                (50, Tick, Step::Confirm),
            ],
        );
        let late = CheckRules {
            longest: 1_000,
            ..required()
        };
        let table = [
            (0, Tick, go(&[0])),
            (100, Passed(0), Step::Fail(Reason::Window)),
        ];
        play(RULES, vec![late], &table);
    }

    #[test]
    fn a_clock_that_goes_backwards_stands_still() {
        let table = [
            (50, Tick, go(&[0])),
            (1, Failed(7), go(&[])),
            (89, Tick, go(&[])),
            (90, Tick, Step::Fail(Reason::Stuck(0))),
        ];
        play(RULES, vec![required()], &table);
    }

    #[test]
    fn a_quick_check_keeps_no_other_out() {
        let rules = Rules {
            parallel: 1,
            soak: 50,
            ..RULES
        };
        let quick = CheckRules {
            interval: 0,
            ..required()
        };
        play(
            rules,
            vec![quick, required()],
            &[
                (0, Tick, go(&[0])),
                (1, Passed(0), go(&[1])),
                (2, Passed(1), go(&[0])),
            ],
        );
    }

    /// What an outsider knows of a required check: it runs, and its row of passes.
    #[derive(Clone, PartialEq, Eq, Hash, Default)]
    struct Seen {
        running: bool,
        row: Option<(Millis, Millis)>,
    }

    #[derive(Clone, PartialEq, Eq, Hash)]
    struct State {
        window: Window,
        now: Millis,
        seen: Vec<Seen>,
    }

    /// Every event in every state that can be reached; returns how many states there are.
    fn explore(rules: Rules, checks: &[CheckRules]) -> usize {
        let start = State {
            window: Window::open(1, rules, checks.to_vec()),
            now: 1,
            seen: vec![Seen::default(); checks.len()],
        };
        let mut known = HashSet::from([start.clone()]);
        let mut open = vec![start];
        while let Some(state) = open.pop() {
            let ids = 0..=checks.len();
            let ends = ids.flat_map(|id| [Passed(id), Failed(id), GaveUp(id)]);
            for event in ends.chain([Tick]) {
                for later in [0, 1, rules.window] {
                    let next = visit(&state, state.now + later, event, (rules, checks));
                    if let Some(next) = next.filter(|next| known.insert(next.clone())) {
                        open.push(next);
                    }
                }
            }
        }
        known.len()
    }

    /// One step, held against what an outsider knows; nothing comes after the end.
    fn visit(
        state: &State,
        now: Millis,
        event: Event,
        (rules, checks): (Rules, &[CheckRules]),
    ) -> Option<State> {
        let mut next = state.clone();
        next.now = now;
        let before = next.window.deadline();
        let tick = next.window.next_tick();
        assert!(tick <= before && (tick > state.now || state.window.end.is_none()));
        let in_time = now < before;
        if let (Passed(id) | Failed(id) | GaveUp(id), true) = (event, in_time)
            && let Some(seen) = next.seen.get_mut(id).filter(|seen| seen.running)
        {
            seen.running = false;
            let first = seen.row.map_or(now, |(first, _)| first);
            seen.row = (event == Passed(id)).then_some((first, now));
        }
        let step = next.window.step(now, event);
        assert_eq!(next.window.deadline(), before, "nothing moves the deadline");
        let required = |id: &usize| checks[*id].demand == Demand::Required;
        match &step {
            Step::Go(started) => {
                assert!(in_time, "past the deadline the trial has ended");
                for id in started {
                    assert!(!next.seen[*id].running, "check {id} runs twice");
                    next.seen[*id].running = true;
                }
                let running = next.seen.iter().filter(|seen| seen.running).count();
                let stuck = checks.iter().filter(|c| c.demand == Demand::Wanted).count();
                assert!(running <= rules.parallel + stuck);
                return Some(next);
            }
            Step::Confirm => {
                assert!(now >= rules.min_uptime);
                for id in (0..checks.len()).filter(required) {
                    assert!(!next.seen[id].running, "its last word was not waited for");
                    let (first, last) = next.seen[id].row.unwrap();
                    assert!(last - first >= rules.soak && last < before);
                }
            }
            Step::Fail(Reason::Window) => assert!(!in_time),
            Step::Fail(Reason::Check(id)) => {
                assert!(event == Failed(*id) && required(id));
            }
            Step::Fail(Reason::GaveUp(id)) => {
                assert!(event == GaveUp(*id) && required(id));
            }
            Step::Fail(Reason::Stuck(id)) => assert!(next.seen[*id].running && required(id)),
        }
        for later in [0, 1, rules.window] {
            for event in [Tick, Passed(0), Failed(0)] {
                assert_eq!(
                    next.window.step(now + later, event),
                    step,
                    "an end is an end"
                );
            }
        }
        None
    }

    #[test]
    fn no_sequence_of_events_leads_past_the_deadline() {
        let small = |demand, retries, interval| CheckRules {
            demand,
            retries,
            threshold: (retries > 0).then_some(3),
            interval,
            longest: 3,
        };
        let sets = [
            vec![],
            vec![small(Demand::Required, 1, 1)],
            vec![small(Demand::Required, 1, 1), small(Demand::Wanted, 1, 0)],
            vec![small(Demand::Required, 0, 2), small(Demand::Required, 1, 1)],
        ];
        let mut states = 0;
        for checks in sets {
            for (soak, min_uptime, parallel) in [(0, 0, 1), (0, 4, 2), (2, 0, 1), (3, 3, 2)] {
                let rules = Rules {
                    window: 7,
                    soak,
                    min_uptime,
                    parallel,
                };
                states += explore(rules, &checks);
            }
        }
        assert!(states > 1_000, "only {states} states were seen");
    }

    #[test]
    fn waiting_for_the_next_tick_always_gets_to_the_end() {
        let rules = Rules {
            soak: 30,
            min_uptime: 70,
            ..RULES
        };
        let mut window = Window::open(0, rules, vec![required(), wanted()]);
        let mut now = 0;
        for _ in 0..1_000 {
            match window.step(now, Tick) {
                Step::Go(_) => assert!(window.next_tick() > now, "it would spin"),
                end => return assert_eq!(end, Step::Fail(Reason::Stuck(0))),
            }
            now = window.next_tick();
        }
        panic!("it never ends");
    }
}
