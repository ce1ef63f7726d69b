// SPDX-License-Identifier: GPL-2.0-only
//! `/init` of the test machine: process 1, and every helper process it starts. See the library.

fn main() -> std::process::ExitCode {
    guest::init::main()
}
