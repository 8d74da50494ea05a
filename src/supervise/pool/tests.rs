//! Table tests of each transition, and properties over random sequences in a world that behaves as lsphp does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::memory::MIN_WORKERS;
use super::*;

const FULL: Size = Size { workers: 7, fixed_mib: 80, estimate_mib: 130, budget_mib: 1024 };
const PATIENCE: Patience = Patience {
    grace: Duration::from_secs(2),
    stop: Duration::from_secs(8),
    request: Duration::from_secs(300),
};

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A pool that serves at the size that was wanted.
fn serving_with(size: Size) -> Pool {
    let mut pool = Pool::new(size, PATIENCE);
    let id = Id(1);
    let spawned = [Action::Open(id), Action::Spawn { id, workers: size.workers }];
    assert_eq!(pool.on(Event::Replace(size), at(0)), spawned);
    pool
}

fn serving() -> Pool {
    serving_with(FULL)
}

/// lsphp ends and leaves this many workers: pid 1 counts them before it tells of the end.
fn died(pool: &mut Pool, id: Id, code: u8, left: u32, now: Duration) -> Vec<Action> {
    assert_eq!(pool.on(Event::Workers(id, left), now), []);
    pool.on(Event::Died(id, code), now)
}

#[test]
fn an_idle_pool_is_replaced_within_its_memory() {
    let mut pool = serving();
    assert_eq!(pool.on(Event::Replace(FULL), at(2000)), [Action::Open(Id(2))]);
    assert_eq!(pool.on(Event::Drained(Id(1)), at(2020)), [Action::Retire(Id(1))]);
    assert_eq!(died(&mut pool, Id(1), 0, 2, at(2025)), []);
    let id = Id(2);
    let done = [Action::Forget(Id(1)), Action::Spawn { id, workers: 7 }];
    assert_eq!(pool.on(Event::Workers(Id(1), 0), at(2026)), done);
    assert_eq!(pool.wakes_at(at(2026)), None, "nothing waits any more");
}

#[test]
fn a_busy_pool_is_replaced_by_a_small_one_that_grows_when_the_old_one_is_gone() {
    let mut pool = serving();
    pool.on(Event::Replace(FULL), at(2000));
    pool.on(Event::Drained(Id(1)), at(2020));
    died(&mut pool, Id(1), 0, 7, at(2021));
    assert_eq!(pool.on(Event::Workers(Id(1), 4), at(2030)), [], "idle ones leave at once, so wait for them");
    assert_eq!(pool.wakes_at(at(2070)), Some(at(2320)));
    // 1024 - 4 * 130 - 80 for the old one - 80 = 344: two fit.
    assert_eq!(pool.on(Event::Tick, at(2320)), [Action::Spawn { id: Id(2), workers: 2 }]);
    let gone = pool.on(Event::Workers(Id(1), 0), at(3000));
    assert_eq!(gone, [Action::Forget(Id(1)), Action::Open(Id(3))], "once more, at full size");
    pool.on(Event::Drained(Id(2)), at(3020));
    assert_eq!(died(&mut pool, Id(2), 0, 2, at(3021)), []);
    assert_eq!(pool.on(Event::Tick, at(3100)), [], "not small again within the grace");
    let id = Id(3);
    let full = [Action::Forget(Id(2)), Action::Spawn { id, workers: 7 }];
    assert_eq!(pool.on(Event::Workers(Id(2), 0), at(3500)), full);
    // The same again at once: what could grow is not made to wait.
    pool.on(Event::Replace(FULL), at(4000));
    pool.on(Event::Drained(Id(3)), at(4020));
    died(&mut pool, Id(3), 0, 4, at(4021));
    assert_eq!(pool.on(Event::Tick, at(4320)), [Action::Spawn { id: Id(4), workers: 2 }]);
    let gone = pool.on(Event::Workers(Id(3), 0), at(5000));
    assert_eq!(gone, [Action::Forget(Id(3)), Action::Open(Id(5))]);
}

#[test]
fn one_that_grows_becomes_larger() {
    let mut pool = serving();
    pool.on(Event::Replace(FULL), at(2000));
    pool.on(Event::Drained(Id(1)), at(2020));
    died(&mut pool, Id(1), 0, 1, at(2021));
    assert_eq!(pool.on(Event::Tick, at(2320)), [Action::Spawn { id: Id(2), workers: 5 }]);
    pool.on(Event::Workers(Id(1), 0), at(3000));
    assert_eq!(pool.on(Event::Tick, at(5000)), [], "the five still serve whoever queues for them");
    pool.on(Event::Drained(Id(2)), at(6000));
    died(&mut pool, Id(2), 0, 3, at(6001));
    assert_eq!(pool.on(Event::Tick, at(8000)), [], "three have room");
    assert_eq!(pool.on(Event::Workers(Id(2), 1), at(8100)), [], "five, which is what there were");
    // Where those that are busy do not end, it is as ever: after five times the grace.
    assert_eq!(pool.on(Event::Tick, at(13_000)), [Action::Spawn { id: Id(3), workers: 5 }]);
    pool.on(Event::Workers(Id(2), 0), at(64_000));
    assert_eq!(pool.wakes_at(at(66_000)), Some(at(74_000)));
    let spawned =
        [Action::Overcommitted { by_mib: 730 + 340 - 1024 }, Action::Spawn { id: Id(4), workers: 2 }];
    assert_eq!(pool.on(Event::Tick, at(74_000)), spawned);
}

#[test]
fn workers_count_until_it_is_known_how_many_there_are() {
    // 4096 - 80 - 80 has room for 30 more, did the old ones not count.
    let large = Size { workers: 30, budget_mib: 4096, ..FULL };
    let mut pool = serving_with(large);
    pool.on(Event::Replace(large), at(2000));
    assert_eq!(pool.on(Event::Drained(Id(1)), at(2020)), [Action::Retire(Id(1))]);
    assert_eq!(pool.on(Event::Tick, at(2380)), [], "lsphp has not left yet");
    assert_eq!(died(&mut pool, Id(1), 0, 30, at(2390)), []);
    assert_eq!(pool.on(Event::Tick, at(3999)), [], "30 workers are busy");
}

#[test]
fn a_request_that_hangs_in_one_that_has_retired_is_cut_once() {
    let mut pool = serving();
    pool.on(Event::Replace(FULL), at(2000));
    pool.set_patience(Patience { request: at(1), ..PATIENCE });
    pool.on(Event::Drained(Id(1)), at(2020));
    died(&mut pool, Id(1), 0, 1, at(2021));
    assert_eq!(pool.on(Event::Tick, at(2320)), [Action::Spawn { id: Id(2), workers: 5 }]);
    assert_eq!(pool.wakes_at(at(2320)), Some(at(302_020)), "what it was started with counts");
    assert_eq!(pool.on(Event::Tick, at(302_019)), []);
    assert_eq!(pool.on(Event::Tick, at(302_020)), [Action::Cut(Id(1))]);
    assert_eq!((pool.on(Event::Tick, at(302_021)), pool.wakes_at(at(302_021))), (vec![], None));
    let gone = pool.on(Event::Workers(Id(1), 0), at(302_022));
    assert_eq!(gone, [Action::Forget(Id(1)), Action::Open(Id(3))], "and the small one grows");
}

#[test]
fn after_the_grace_a_start_is_overcommitted_and_says_so() {
    let mut pool = serving();
    pool.on(Event::Replace(FULL), at(2000));
    assert_eq!(pool.wakes_at(at(2320)), Some(at(4000)));
    assert_eq!(pool.on(Event::Tick, at(3999)), []);
    // The old one has its parent yet: 990 MiB, and 80 + 2 * 130 come on top.
    let id = Id(2);
    let started = [Action::Overcommitted { by_mib: 990 + 340 - 1024 }, Action::Spawn { id, workers: 2 }];
    assert_eq!(pool.on(Event::Tick, at(4000)), started);
}

#[test]
fn one_replacement_at_a_time_and_the_last_wish_counts() {
    let mut pool = serving();
    let (smaller, larger) = (Size { workers: 3, ..FULL }, Size { workers: 15, budget_mib: 2048, ..FULL });
    pool.on(Event::Replace(FULL), at(2000));
    assert_eq!(pool.on(Event::Replace(smaller), at(2100)), [], "what has not begun is changed");
    pool.on(Event::Tick, at(4000));
    assert_eq!(pool.on(Event::Replace(larger), at(4001)), [], "the oldest still drains");
    assert!(pool.is_replacing());
    assert_eq!(pool.on(Event::Drained(Id(1)), at(4500)), [Action::Retire(Id(1)), Action::Open(Id(3))]);
}

#[test]
fn a_stop_answers_what_is_there_and_ends() {
    let mut pool = serving();
    assert_eq!(pool.on(Event::Stop, at(2000)), [Action::Park]);
    assert_eq!(pool.on(Event::Replace(FULL), at(2001)), [], "nothing new begins");
    assert_eq!(pool.on(Event::Drained(Id(1)), at(2100)), [Action::Retire(Id(1))]);
    died(&mut pool, Id(1), 0, 7, at(2101));
    let ended = [Action::Forget(Id(1)), Action::End(Ending::Stopped)];
    assert_eq!(pool.on(Event::Workers(Id(1), 0), at(2500)), ended);
    assert_eq!(pool.on(Event::Stop, at(2501)), [], "the end is the end");
}

#[test]
fn a_stop_ends_at_its_deadline_or_at_a_second_signal() {
    let mut pool = serving();
    pool.on(Event::Stop, at(2000));
    assert_eq!(pool.wakes_at(at(2000)), Some(at(10_000)));
    assert_eq!(pool.on(Event::Tick, at(9999)), []);
    assert_eq!(pool.on(Event::Tick, at(10_000)), [Action::End(Ending::Cut)]);
    let mut pool = serving();
    pool.on(Event::Stop, at(2000));
    assert_eq!(pool.on(Event::Stop, at(2001)), [Action::End(Ending::Cut)]);
}

#[test]
fn what_waits_for_a_starting_generation_is_served_at_a_stop() {
    let mut pool = serving();
    pool.on(Event::Replace(FULL), at(2000));
    assert_eq!(pool.on(Event::Stop, at(2010)), [Action::Park]);
    pool.on(Event::Drained(Id(1)), at(2020));
    let spawned = died(&mut pool, Id(1), 0, 0, at(2031));
    assert!(spawned.contains(&Action::Spawn { id: Id(2), workers: 7 }), "{spawned:?}");
    assert_eq!(pool.on(Event::Drained(Id(2)), at(2100)), [Action::Retire(Id(2))]);
    // Where nobody waits for it, it is not even started.
    let mut pool = serving();
    pool.on(Event::Replace(FULL), at(2000));
    pool.on(Event::Stop, at(2010));
    assert_eq!(pool.on(Event::Drained(Id(2)), at(2011)), [Action::Retire(Id(2)), Action::Forget(Id(2))]);
}

#[test]
fn deaths_are_followed_by_longer_pauses_and_the_fifth_is_the_end() {
    let mut pool = serving();
    let mut now = at(1000);
    for pause in [100, 200, 400, 800] {
        assert_eq!(pool.on(Event::Died(Id(1), 139), now), []);
        assert_eq!(pool.wakes_at(now), Some(now + at(pause)));
        now += at(pause);
        let id = Id(1);
        assert_eq!(pool.on(Event::Tick, now), [Action::Spawn { id, workers: 7 }]);
    }
    assert_eq!(pool.on(Event::Died(Id(1), 139), now), [Action::End(Ending::Failed(139))]);
    let mut pool = serving();
    for minute in 0..20 {
        let now = at(1000 + minute * 61_000);
        assert_eq!(pool.on(Event::Died(Id(1), 1), now), [], "deaths that are far apart");
        assert_eq!(pool.on(Event::Tick, now + at(100)), [Action::Spawn { id: Id(1), workers: 7 }]);
    }
}

#[test]
fn survivors_of_a_death_are_retired_and_count() {
    let mut pool = serving();
    assert_eq!(died(&mut pool, Id(1), 137, 7, at(2000)), [Action::Open(Id(2))]);
    pool.on(Event::Drained(Id(1)), at(2020));
    assert_eq!(pool.on(Event::Tick, at(2110)), [], "seven survivors leave no room");
    assert_eq!(pool.on(Event::Workers(Id(1), 3), at(2200)), [Action::Spawn { id: Id(2), workers: 3 }]);
}

#[test]
fn without_a_listener_for_the_next_one_the_last_one_serves_on() {
    let mut pool = serving();
    let larger = Size { workers: 15, budget_mib: 2048, ..FULL };
    assert_eq!(pool.on(Event::Replace(larger), at(2000)), [Action::Open(Id(2))]);
    assert_eq!(pool.on(Event::NotOpened(Id(2)), at(2000)), []);
    let [only] = pool.generations() else { panic!("{pool:?}") };
    assert_eq!((only.id, only.state, pool.is_replacing()), (Id(1), State::Serving, false));
    assert_eq!(pool.on(Event::Replace(FULL), at(3000)), [Action::Open(Id(3))], "and another time it works");
    // Of one that died only workers are left, who end one by one.
    let mut pool = serving();
    assert_eq!(died(&mut pool, Id(1), 137, 7, at(2000)), [Action::Open(Id(2))]);
    assert_eq!(pool.on(Event::NotOpened(Id(2)), at(2000)), [Action::End(Ending::NoListener)]);
}

#[test]
fn one_waits_a_little_for_room_for_all_of_its_workers() {
    for (left_at, spawned) in [(2319, 7), (9000, 5)] {
        let mut pool = serving();
        let id = Id(2);
        assert_eq!(pool.on(Event::Replace(FULL), at(2000)), [Action::Open(id)]);
        pool.on(Event::Drained(Id(1)), at(2020));
        assert_eq!(died(&mut pool, Id(1), 0, 1, at(2021)), []);
        assert_eq!(pool.on(Event::Tick, at(2070)), [], "five have room, and seven may soon");
        assert_eq!(pool.wakes_at(at(2070)), Some(at(2320)));
        let mut actions = Vec::new();
        if left_at < 2320 {
            actions = pool.on(Event::Workers(Id(1), 0), at(left_at));
        }
        actions.extend(pool.on(Event::Tick, at(2320)));
        assert!(actions.contains(&Action::Spawn { id, workers: spawned }), "{actions:?}");
    }
}

/// Kernel and lsphp as they behave: queues, workers that finish, parents that die when they are asked to.
#[derive(Debug, Default)]
struct World {
    now: Duration,
    /// Generations that pid 1 has opened and not forgotten: those not retired have a listener.
    listeners: BTreeMap<Id, bool>,
    /// Where new connections go; `None`: the parking listener.
    steered: Option<Id>,
    /// The next listener cannot be opened.
    is_full: bool,
    /// How many workers each may fork.
    parents: BTreeMap<Id, u32>,
    /// Those that are there, of which pid 1 hears when the parent has left.
    workers: BTreeMap<Id, u32>,
    overcommitted: bool,
    ended: Option<Ending>,
}

impl World {
    /// Has `events` happen, from the last to the first, and what follows from each, as pid 1 does.
    fn happen(&mut self, pool: &mut Pool, mut events: Vec<Event>) {
        while let Some(event) = events.pop() {
            let actions = pool.on(event, self.now);
            events.extend(self.apply(pool, actions));
            // Not in between: of a listener that is not there the machine is about to hear.
            if events.is_empty() {
                self.check_listeners(pool);
            }
        }
    }

    fn apply(&mut self, pool: &Pool, actions: Vec<Action>) -> Vec<Event> {
        let mut follow = Vec::new();
        for action in actions {
            assert!(self.ended.is_none(), "nothing after the end");
            match action {
                Action::Open(id) if std::mem::take(&mut self.is_full) => follow.push(Event::NotOpened(id)),
                Action::Open(id) => {
                    self.listeners.insert(id, true);
                    self.steered = Some(id);
                }
                Action::Spawn { id, .. } if follow.contains(&Event::NotOpened(id)) => {}
                Action::Park => self.steered = None,
                Action::Spawn { id, workers } => {
                    assert!(self.listeners[&id], "lsphp gets a listener that is open");
                    assert!(self.parents.insert(id, workers).is_none(), "one lsphp a generation");
                    assert!(workers >= MIN_WORKERS);
                    self.check_memory(pool, id);
                }
                Action::Retire(id) => {
                    self.listeners.insert(id, false);
                    assert_ne!(self.steered, Some(id), "no new connection goes to one that leaves");
                }
                Action::Forget(id) => {
                    self.listeners.remove(&id);
                    assert!(!self.parents.contains_key(&id) && !self.workers.contains_key(&id), "it is gone");
                }
                Action::Cut(id) => {
                    self.workers.remove(&id);
                    follow.extend(self.leave(id));
                }
                Action::Overcommitted { .. } => self.overcommitted = true,
                Action::End(ending) => self.ended = Some(ending),
            }
        }
        follow
    }

    fn check_listeners(&self, pool: &Pool) {
        assert!(
            self.listeners.values().filter(|open| **open).count() <= 2,
            "two slots beside the parking one"
        );
        if !pool.is_stopping() && self.ended.is_none() {
            let steered = self.steered.expect("never no listener while serving");
            assert!(self.listeners[&steered]);
            let newest = pool.generations().last().expect("somebody serves or is about to");
            assert_eq!(newest.id, steered, "new connections come to whom the machine says");
        }
    }

    /// What the workers that there are, and those that may be forked, come to need.
    fn check_memory(&mut self, pool: &Pool, started: Id) {
        let needs = pool.generations().iter().map(|generation| {
            let there = self.workers.get(&generation.id).copied().unwrap_or_default();
            match self.parents.get(&generation.id).copied().unwrap_or(there) {
                0 => 0,
                workers => u64::from(FULL.fixed_mib) + u64::from(workers) * u64::from(FULL.estimate_mib),
            }
        });
        let needs: Vec<u64> = needs.filter(|mib| *mib > 0).collect();
        let budget =
            pool.generations().iter().find(|generation| generation.id == started).unwrap().size.budget_mib;
        if needs.len() > 1 && !std::mem::take(&mut self.overcommitted) {
            let sum: u64 = needs.iter().sum();
            assert!(sum <= budget, "{needs:?} of {budget} MiB without a word");
        }
    }

    /// lsphp ends; pid 1 first counts whom it leaves.
    fn leave(&mut self, id: Id) -> Vec<Event> {
        let left = self.workers.get(&id).copied().unwrap_or_default();
        let ended = self.parents.remove(&id).map(|_| Event::Died(id, 0));
        ended.into_iter().chain([Event::Workers(id, left)]).collect()
    }

    /// A generation has this many workers from now on, of which pid 1 hears when their parent has left.
    fn work(&mut self, id: Id, workers: u32) -> Vec<Event> {
        self.workers.insert(id, workers);
        self.workers.retain(|_, workers| *workers > 0);
        if self.parents.contains_key(&id) { vec![] } else { vec![Event::Workers(id, workers)] }
    }
}

#[derive(Debug, Clone)]
enum Happening {
    Replace(u64),
    Stop,
    /// The next listener cannot be opened.
    Full,
    /// The nth lsphp dies of itself.
    Death(usize),
    /// The nth generation has this many more or fewer workers.
    Work(usize, u32),
    /// The nth queue is empty.
    Drain(usize),
    Leave(usize),
    Pass(u64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        3 => (512u64..4096).prop_map(Happening::Replace),
        1 => Just(Happening::Stop),
        1 => Just(Happening::Full),
        1 => (0usize..4).prop_map(Happening::Death),
        4 => (0usize..4, 0u32..16).prop_map(|(nth, workers)| Happening::Work(nth, workers)),
        4 => (0usize..4).prop_map(Happening::Drain),
        4 => (0usize..4).prop_map(Happening::Leave),
        4 => (0u64..5000).prop_map(Happening::Pass),
    ];
    proptest::collection::vec(happening, 0..120)
}

fn size_for(budget_mib: u64) -> Size {
    let workers = u32::try_from((budget_mib - 80) / 130).unwrap().max(MIN_WORKERS);
    Size { workers, budget_mib, ..FULL }
}

/// The events that a happening is, the last one first; none if it cannot be in this world.
fn events(world: &mut World, pool: &Pool, happening: &Happening) -> Vec<Event> {
    let nth = |nth: &usize| pool.generations().get(*nth).copied();
    match happening {
        Happening::Replace(budget) => vec![Event::Replace(size_for(*budget))],
        Happening::Stop => vec![Event::Stop],
        Happening::Full => {
            world.is_full = true;
            vec![]
        }
        Happening::Death(n) => {
            let parent = nth(n).filter(|generation| world.parents.contains_key(&generation.id));
            parent.map(|generation| world.leave(generation.id)).unwrap_or_default()
        }
        Happening::Work(n, workers) => {
            let Some(id) = nth(n).map(|generation| generation.id) else { return vec![] };
            let there = world.workers.get(&id).copied().unwrap_or_default();
            world.work(id, *workers.min(world.parents.get(&id).unwrap_or(&there)))
        }
        Happening::Drain(n) => nth(n).map(|generation| Event::Drained(generation.id)).into_iter().collect(),
        Happening::Leave(n) => {
            let retiring = nth(n).filter(|generation| matches!(generation.state, State::Retiring { .. }));
            let Some(id) = retiring.map(|generation| generation.id) else { return vec![] };
            if world.parents.contains_key(&id) { world.leave(id) } else { world.work(id, 0) }
        }
        Happening::Pass(ms) => {
            world.now += Duration::from_millis(*ms);
            vec![Event::Tick]
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Memory, listeners and slots hold at every moment (see [`World::apply`]), and a stop always ends.
    #[test]
    fn whatever_happens(happenings in happenings()) {
        let mut pool = Pool::new(FULL, PATIENCE);
        let mut world = World::default();
        world.happen(&mut pool, vec![Event::Replace(FULL)]);
        for happening in &happenings {
            let events = events(&mut world, &pool, happening);
            world.happen(&mut pool, events);
            if world.ended.is_some() {
                return Ok(());
            }
        }
        world.happen(&mut pool, vec![Event::Stop]);
        while world.ended.is_none() {
            world.now = pool.wakes_at(world.now).expect("a stop has a deadline");
            world.happen(&mut pool, vec![Event::Tick]);
        }
    }

    /// Left alone, with lsphp behaving, a pool comes to rest as one generation of the size that was wanted last.
    #[test]
    fn it_comes_to_rest(budgets in proptest::collection::vec(512u64..4096, 1..6), gap in 0u64..3000) {
        let mut pool = Pool::new(FULL, PATIENCE);
        let mut world = World::default();
        world.happen(&mut pool, vec![Event::Replace(FULL)]);
        for budget in &budgets {
            world.happen(&mut pool, vec![Event::Replace(size_for(*budget))]);
            world.now += Duration::from_millis(gap);
        }
        for _ in 0..400 {
            for n in 0..pool.generations().len() {
                for happening in [Happening::Drain(n), Happening::Leave(n), Happening::Leave(n)] {
                    let events = events(&mut world, &pool, &happening);
                    world.happen(&mut pool, events);
                }
            }
            world.now = pool.wakes_at(world.now).unwrap_or(world.now);
            world.happen(&mut pool, vec![Event::Tick]);
        }
        prop_assert!(!pool.is_replacing(), "{pool:?}");
        let wanted = size_for(*budgets.last().unwrap());
        prop_assert_eq!(pool.generations()[0].ceiling, wanted.workers);
    }
}
