//! Timelines: one character a tick, one letter an event at that tick.
//!
//! `E` enter, `W` switched out waiting, `D` switched out for a lock, `B` for a disk, `P` preempted, `k` woken,
//! `I` switched in, `r` seen to run, `C` copy begins, `c` copy ends, `X` exit. The asserts walk along the
//! picture.

use super::*;

/// Plays a picture, first tick = 1000 so that no moment is 0; returns the parts of every exit.
fn play(picture: &str) -> Vec<Parts> {
    let mut span = Span::ZERO;
    let mut waking = 0;
    let mut parts = Vec::new();
    for (tick, event) in picture.chars().enumerate() {
        let now = 1000 + tick as u64;
        match event {
            'E' => span.enter(now),
            'W' => span.switch_out(now, Off::Wait),
            'D' => span.switch_out(now, Off::Lock),
            'B' => span.switch_out(now, Off::Disk),
            'P' => span.switch_out(now, Off::Preempted),
            'k' => waking = now,
            'I' => {
                span.switch_in(now, waking);
            }
            'C' => drop(span.copy_begin(now, 1)),
            'c' => drop(span.copy_end(now)),
            // What the probes ask before they end a call or switch a thread out.
            'r' => drop(span.runs(now, waking)),
            'X' => parts.push(span.exit(now)),
            _ => {}
        }
    }
    for p in &parts {
        assert_eq!(p.wait + p.disk + p.lock + p.runq + p.copy + p.work, p.total, "{picture}");
    }
    parts
}

fn one(picture: &str) -> Parts {
    let parts = play(picture);
    assert_eq!(parts.len(), 1, "{picture}");
    parts[0]
}

#[test]
fn a_blocking_read() {
    //             work W: wait  k:runq I  C:copy c  X
    let p = one("E__W_____________k____I__C______c___X");
    assert_eq!(p, Parts { total: 36, wait: 14, disk: 0, lock: 0, runq: 5, copy: 7, work: 10 });
}

#[test]
fn a_disk_is_neither_a_lock_nor_data() {
    let p = one("E_B____k__I__X");
    assert_eq!(p, Parts { total: 13, disk: 5, runq: 3, work: 5, ..Parts::default() });
    let iowait = |set: bool| move || set;
    assert_eq!(Off::of(false, 2, iowait(true)), Off::Disk);
    assert_eq!(Off::of(false, 0x102, iowait(true)), Off::Disk);
    assert_eq!(Off::of(false, 2, iowait(false)), Off::Lock);
    // io_uring_enter sets the bit while it waits for its completions.
    assert_eq!(Off::of(false, 1, iowait(true)), Off::Wait);
    assert_eq!(Off::of(true, 2, iowait(true)), Off::Preempted);
}

/// A kernel may not show the switch away from some threads: what came after them was woken all the same.
#[test]
fn a_switch_in_that_nobody_saw_keeps_its_sleep() {
    let p = one("E__W____k_____rX");
    assert_eq!(p, Parts { total: 15, wait: 5, runq: 6, work: 4, ..Parts::default() });
    // The second sleep does not swallow the first.
    let p = one("E__W____k_____rW__k__I_X");
    assert_eq!((p.wait, p.total), (8, 23));
    // Who runs already is not switched in again.
    assert_eq!(one("E_W_kI_r_X").runq, one("E_W_kI___X").runq);
}

#[test]
fn data_was_there() {
    let p = one("E_C___c_X");
    assert_eq!(p, Parts { total: 8, copy: 4, work: 4, ..Parts::default() });
}

#[test]
fn a_call_that_returns_at_once() {
    assert_eq!(one("E___X"), Parts { total: 4, work: 4, ..Parts::default() });
}

#[test]
fn two_waits_and_two_copies() {
    let p = one("E_W___kI_C__c_W__kI_C_c_X");
    assert_eq!(p, Parts { total: 24, wait: 7, disk: 0, lock: 0, runq: 2, copy: 5, work: 10 });
}

#[test]
fn a_lock_is_not_a_wait_for_data() {
    let p = one("E_D____k__I_X");
    assert_eq!(p, Parts { total: 12, wait: 0, disk: 0, lock: 5, runq: 3, copy: 0, work: 4 });
}

#[test]
fn preempted_in_the_copy() {
    // 4 of the 9 ticks between the marks were spent waiting for a CPU.
    let p = one("E_C__P___I___c_X");
    assert_eq!(p, Parts { total: 15, runq: 4, copy: 7, work: 4, ..Parts::default() });
}

#[test]
fn a_page_fault_in_the_copy() {
    let p = one("E_C_D___k_I__c_X");
    assert_eq!(p, Parts { total: 15, wait: 0, disk: 0, lock: 4, runq: 2, copy: 5, work: 4 });
}

#[test]
fn woken_on_the_way_out() {
    // The wake-up came before the switch: the thread stayed runnable, so nothing of this was sleep.
    let p = one("E__kW____I_X");
    assert_eq!(p, Parts { total: 11, runq: 5, work: 6, ..Parts::default() });
}

#[test]
fn an_old_wake_up_says_nothing_of_this_sleep() {
    let p = play("E_W_k_I_X_E_W____I_X");
    assert_eq!(p[1], Parts { total: 9, runq: 5, work: 4, ..Parts::default() });
}

#[test]
fn switched_out_before_anyone_watched() {
    let p = one("I_E___X");
    assert_eq!(p, Parts { total: 4, work: 4, ..Parts::default() });
}

#[test]
fn sleeping_between_calls_belongs_to_no_call() {
    let p = play("E_X_W____k__I_E_X");
    assert_eq!(p[1], Parts { total: 2, work: 2, ..Parts::default() });
}

#[test]
fn time_away_between_two_calls_is_kept_for_the_second() {
    let mut span = Span::ZERO;
    span.enter(1000);
    span.exit(1010);
    span.switch_out(1020, Off::Preempted);
    span.switch_in(1025, 0);
    span.switch_out(1030, Off::Wait);
    span.switch_in(1050, 1043);
    span.enter(1060);
    assert_eq!((span.before_runq, span.before_sleep), (5 + 7, 13));
    span.exit(1070);
    span.enter(1080);
    assert_eq!((span.before_runq, span.before_sleep), (0, 0));
}

#[test]
fn a_copy_left_open_ends_with_the_call() {
    let p = one("E_C_____X");
    assert_eq!(p, Parts { total: 8, copy: 6, work: 2, ..Parts::default() });
}

#[test]
fn a_new_copy_ends_the_one_before() {
    let p = one("E_C__C___c_X");
    assert_eq!(p, Parts { total: 11, copy: 7, work: 4, ..Parts::default() });
}

#[test]
fn a_missed_exit_does_not_leak_into_the_next_call() {
    let p = one("E__W___kI_E__X");
    assert_eq!(p, Parts { total: 3, work: 3, ..Parts::default() });
}

#[test]
fn a_copy_outside_any_call_is_handed_back() {
    let mut span = Span::ZERO;
    span.copy_begin(1000, 42);
    span.switch_out(1002, Off::Preempted);
    span.switch_in(1005, 0);
    let window = span.copy_end(1009).unwrap();
    assert_eq!((window.length(), window.bytes), (6, 42));
    assert_eq!(span.copies, 0);
}

#[test]
fn clocks_that_disagree_do_not_break_the_sum() {
    let mut span = Span::ZERO;
    span.enter(1000);
    span.switch_out(1001, Off::Wait);
    span.switch_in(1100, 1050);
    let parts = span.exit(1099);
    assert_eq!(parts.wait + parts.runq + parts.work, parts.total);
}

#[test]
fn states_are_tested_by_bit() {
    assert_eq!(Off::of(false, 0x2001, || false), Off::Wait, "freezable wait of AF_UNIX");
    assert_eq!(Off::of(false, 0x102, || false), Off::Lock, "killable");
    assert_eq!(Off::of(true, 0x1, || false), Off::Preempted, "preempted on the way to sleep");
    assert_eq!(Off::of(false, 0, || false), Off::Preempted, "yielded");
}

#[test]
fn time_away_can_be_told_between_two_moments_of_a_call() {
    let mut span = Span::ZERO;
    span.switch_out(900, Off::Wait);
    span.switch_in(950, 920);
    assert_eq!(span.away(), 50, "outside any call");
    span.enter(1000);
    assert_eq!(span.away(), 0, "a call begins anew");
    span.switch_out(1010, Off::Preempted);
    span.switch_in(1025, 0);
    let before = span.away();
    span.switch_out(1030, Off::Lock);
    span.switch_in(1047, 1040);
    assert_eq!((before, span.away() - before), (15, 17));
}
