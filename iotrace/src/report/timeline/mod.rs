//! placeholder
use super::page::Page;
use super::units::Unit;
use crate::summary::Document;
/// x
pub fn draw(_: &Document, _: Unit, _: &mut Page) {}
