//! Liveness: whatever went wrong until now, once nothing more does, everything comes to its end.
//!
//! The checker's own "eventually" sees no cycles, and a lane may be claimed and lost for ever. So this asks more of every
//! state: that from there, the first of the steps that are always possible, again and again, leads to the end. Where such
//! a way exists from everywhere, a scheduler that is fair takes one.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::{
    protocol::Protocol,
    system::{Lane, System, Word},
};

/// No way is longer, unless it goes in circles.
const LONGEST: usize = 200;

/// Whether all is well in the end, if nothing more goes wrong from here: be what is on its way without anybody waiting
/// for it lost or not.
pub fn completes(protocol: &Protocol, system: &System) -> bool {
    let arriving = System { faults: 0, ..system.clone() };
    let mut lost = arriving.clone();
    lost.late.clear();
    lost.wire.retain(|request| request.from.is_some());
    comes_to_its_end(protocol, lost) && comes_to_its_end(protocol, arriving)
}

fn comes_to_its_end(protocol: &Protocol, mut here: System) -> bool {
    let mut way = vec![];
    let mut calm = protocol.calm.lock().expect("nobody panics while holding it");
    loop {
        let name = BuildHasherDefault::<DefaultHasher>::default().hash_one(&here);
        if calm.contains(&name) {
            break;
        }
        way.push(name);
        match protocol.steps(&here).first() {
            Some(_) if way.len() > LONGEST => return false,
            Some(step) => here = protocol.after(&here, *step),
            None if is_complete(protocol, &here) => break,
            None => return false,
        }
    }
    calm.extend(way);
    true
}

/// The ledger says what the cluster is, the receiver and the statuses have it all, and nothing is left on its way.
fn is_complete(protocol: &Protocol, system: &System) -> bool {
    let told = protocol.shape.relay;
    let said = (0..protocol.shape.streams).all(|stream| {
        let sequence = system.ledger.sequence(stream);
        let word = if system.gone[stream] { Word::Deleted } else { Word::Ready };
        let rows = system.ledger.rows.iter().filter(|row| usize::from(row.stream) == stream);
        system.ledger.newest(stream).is_some_and(|row| row.to == word)
            && system.status[stream] == sequence
            && (!told || system.lanes[stream] == Lane { acked: sequence, ..Lane::default() })
            && (!told || system.applied[stream].iter().eq(rows))
    });
    said && system.late.is_empty() && system.wire.is_empty()
}
