//! One limit on what observing may cost, the value that was measured, and how both are shown.

/// One target: a value that must not be larger than its limit, or not smaller.
pub struct Target {
    pub quantity: &'static str,
    pub limit: f64,
    pub unit: &'static str,
    /// `None`: an arm that it takes was not measured.
    pub value: Option<f64>,
    /// Whether the value must not be smaller than the limit, instead of not larger.
    pub at_least: bool,
}

impl Target {
    pub fn met(&self) -> Option<bool> {
        self.value.map(|value| if self.at_least { value >= self.limit } else { value <= self.limit })
    }

    pub fn verdict(&self) -> String {
        let sign = if self.at_least { ">=" } else { "<=" };
        let said = match (self.met(), self.value) {
            (None, _) => "not measured".to_owned(),
            (Some(true), _) => "met".to_owned(),
            (Some(false), Some(value)) if self.limit != 0.0 => {
                format!("MISSED by {:.0} %", (value / self.limit - 1.0).abs() * 100.0)
            }
            (Some(false), _) => "MISSED".to_owned(),
        };
        let value = self.value.map_or("-".to_owned(), number);
        format!("{value:>9} {sign} {:<7}{:<9} {said}", number(self.limit), self.unit)
    }
}

/// Three digits that count.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        small if small < 0.1 => 4,
        small if small < 10.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}
