//! What the machine is told, and what it answers.

use super::generation::{Id, Size};

/// What happened. Times are since pid 1 started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A new plan, whose lsphp has been proven, shall take over.
    Replace(Size),
    /// The container shall end; said again, at once.
    Stop,
    /// lsphp itself, the parent of the workers, has ended with this code as a shell has it.
    Died(Id, u8),
    /// Its listener could not be opened.
    NotOpened(Id),
    /// Its lsphp has ended, and this many workers are left.
    Workers(Id, u32),
    /// The queue of a draining generation is empty.
    Drained(Id),
    /// Time has passed.
    Tick,
}

/// What pid 1 is to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Open a listener for it and send every new connection there.
    Open(Id),
    /// Send every new connection to the parking listener.
    Park,
    /// Start lsphp on its listener with this many workers.
    Spawn { id: Id, workers: u32 },
    /// Shut its listener down and ask its lsphp to leave.
    Retire(Id),
    /// End the workers that it still has: their requests take too long.
    Cut(Id),
    /// It is gone: forget it.
    Forget(Id),
    /// The next start needs more than the budget; `by_mib` with all workers busy.
    Overcommitted { by_mib: u64 },
    /// End whatever is left and exit with this code.
    End(Ending),
}

/// Why pid 1 ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every request was answered.
    Stopped,
    /// The deadline or a second signal came first.
    Cut,
    /// lsphp died too often; its last code.
    Failed(u8),
    /// There is none for the next lsphp, and no lsphp to go on with.
    NoListener,
}
