//! `cargo xtask wild`: real programs from Debian under their usual loads, observed by iotrace and by bpftrace at once.
//! Each figure of iotrace stands beside a truth that iotrace has no part in.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{process, setup};
use compare::Line;
use programs::{SCENES, Scene};
use stage::Stage;
use table::Played;

mod client;
mod compare;
mod dns;
mod numbers;
mod observe;
mod programs;
mod stage;
mod table;
mod traced;
mod truth;

/// Arguments of `wild`.
#[derive(clap::Args)]
pub struct Args {
    /// Only scenes whose name contains one of these words: nginx, redis, postgres, go, node, fio, dnsmasq, haproxy
    #[arg(value_name = "PROGRAM")]
    only: Vec<String>,
    /// Print every figure on a line of its own, with the source of its truth
    #[arg(long)]
    long: bool,
    /// How often each scene is played; the table is of the last time
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Leave the results of iotrace and bpftrace in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// The iotrace to check [default: that of this workspace, built first]
    #[arg(long, value_name = "FILE")]
    iotrace: Option<PathBuf>,
}

/// `cargo xtask wild`.
///
/// # Errors
/// Where a word names no scene, packages cannot be installed, or iotrace cannot be built. A scene that fails is a line
/// of the table.
pub fn run(args: &Args) -> Result<ExitCode> {
    let scenes = chosen(&args.only)?;
    let iotrace = match &args.iotrace {
        Some(iotrace) => std::path::absolute(iotrace)?,
        None => crate::run::prepare()?,
    };
    if !process::is_root() {
        let mut command = process::as_root(std::env::current_exe().context("where is xtask?")?);
        command.args(std::env::args_os().skip(1)).arg("--iotrace").arg(&iotrace);
        return Err(command.exec()).with_context(|| format!("cannot start {}", process::shown(&command)));
    }
    let mut needed = vec![("bpftrace", "bpftrace")];
    needed.extend(scenes.iter().flat_map(|scene| scene.packages));
    setup::programs(&needed)?;
    let mut failed = false;
    let mut table = Vec::new();
    for scene in scenes {
        for _ in 0..args.times.max(1) {
            eprintln!("xtask: wild: {} ...", scene.name);
            let lines = play(scene, &iotrace, args.keep.as_ref());
            let played = Played { name: scene.name, lines };
            failed |= played.lines.as_ref().map_or(true, |lines| lines.iter().any(|line| !line.agrees));
            eprint!("{}", table::long(&played));
            table.push(played);
        }
        // Of a scene that was played several times, the last one stays.
        let last = table.pop();
        table.retain(|played: &Played| played.name != scene.name);
        table.extend(last);
    }
    println!("{}", table::heading());
    for played in &table {
        print!("{}", if args.long { table::long(played) } else { table::short(played) });
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn play(scene: &Scene, iotrace: &std::path::Path, keep: Option<&PathBuf>) -> Result<Vec<Line>> {
    let stage = Stage::new(iotrace)?;
    let seen = (scene.play)(&stage)?;
    if let Some(keep) = keep {
        let name: String =
            scene.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        seen.keep(keep, &name)?;
    }
    Ok(compare::lines(&seen, &scene.expect))
}

fn chosen(only: &[String]) -> Result<Vec<&'static Scene>> {
    for word in only {
        if !SCENES.iter().any(|scene| scene.name.contains(word.as_str())) {
            let names: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
            bail!("there is no scene {word:?}; scenes are: {}", names.join("; "));
        }
    }
    let picks =
        |scene: &&&Scene| only.is_empty() || only.iter().any(|word| scene.name.contains(word.as_str()));
    Ok(SCENES.iter().filter(picks).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_scenes() {
        assert_eq!(chosen(&[]).map(|all| all.len()).ok(), Some(SCENES.len()));
        let nginx = chosen(&["nginx".to_owned()]).expect("a known word");
        assert!(nginx.len() >= 3 && nginx.iter().all(|scene| scene.name.contains("nginx")));
        assert!(chosen(&["apache".to_owned()]).is_err());
    }
}
