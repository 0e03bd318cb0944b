//! The metrics of the process, under the names that all client libraries of Prometheus use.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use jeton_runtime::process::{self, ProcessUsage};

/// Asks the system when the metrics are asked for. What the system does not tell is missing.
#[derive(Debug)]
pub(super) struct ProcessMetrics {
    started_at: Option<f64>,
}

impl ProcessMetrics {
    pub(super) fn new() -> Self {
        Self { started_at: process::started_at() }
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut write = |name, help, unit: Option<Unit>, metric: &dyn EncodeMetric| {
            let kind = metric.metric_type();
            metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), kind)?)
        };
        if let Some(started_at) = self.started_at {
            let help = "When the process began, since 1970-01-01T00:00:00Z.";
            write("process_start_time", help, Some(Unit::Seconds), &ConstGauge::new(started_at))?;
        }
        let Some(usage) = ProcessUsage::look() else { return Ok(()) };
        let processor_time = ConstCounter::new(usage.processor_time.as_secs_f64());
        let help = "Processor time of all threads, in the kernel and outside.";
        write("process_cpu", help, Some(Unit::Seconds), &processor_time)?;
        for (name, help, octets) in [
            ("process_resident_memory", "Memory that is in use.", usage.resident_memory),
            ("process_virtual_memory", "Addresses that are taken.", usage.virtual_memory),
        ] {
            write(name, help, Some(Unit::Bytes), &ConstGauge::new(octets))?;
        }
        let help = "Open files, connections among them.";
        write("process_open_fds", help, None, &ConstGauge::new(usage.open_files))?;
        if let Some(most) = usage.open_files_max {
            write("process_max_fds", "How many files may be open.", None, &ConstGauge::new(most))?;
        }
        write("process_threads", "Threads of the process.", None, &ConstGauge::new(usage.threads))
    }
}
