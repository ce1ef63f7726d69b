// SPDX-License-Identifier: GPL-2.0-only
//! Levels.

use super::*;

#[test]
fn each_v_is_one_level() {
    assert_eq!(level(0), LevelFilter::INFO);
    assert_eq!(level(1), LevelFilter::DEBUG);
    assert_eq!(level(2), LevelFilter::TRACE);
    assert_eq!(level(u8::MAX), LevelFilter::TRACE);
}

#[test]
fn setting_up_twice_is_fine() {
    init(0);
    init(2);
}
