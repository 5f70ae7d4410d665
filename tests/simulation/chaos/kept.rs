//! Cases that failed once, each with what was wrong.

use super::try_out;
use crate::{
    case::Case,
    faults::{Chances, Fault::*, Plan, Surface::*, at},
    step::Step::*,
};

fn holds(case: &Case) {
    assert_eq!(try_out(case).violations, Vec::<String>::new());
}
