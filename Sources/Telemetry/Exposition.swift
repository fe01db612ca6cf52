// The text that /metrics answers: every definition of the catalogue, always in full, so that the number of lines never
// depends on what peers did.
//
// Called by the admin listener, off the loops; reads the shards with relaxed loads, so a scrape sees each number whole
// but not all of them at one instant. Sources: Prometheus text format 0.0.4, OpenMetrics 1.0.0.

package import Bytes

extension MetricRegistry {
    /// Appends all metrics. Without a `process` sample the `process_*` metrics are left out.
    package func render(into buffer: inout ByteBuffer, format: ExpositionFormat, process: ProcessSample?) {
        for definition in MetricCatalogue.all {
            if process == nil, case .process(let value) = definition.source, value.needsSample { continue }
            renderHead(of: definition, format, into: &buffer)
            renderSamples(of: definition, format, process, into: &buffer)
        }
        if format == .openMetrics { buffer.append("# EOF\n") }
    }

    private func renderHead(of metric: MetricDefinition, _ format: ExpositionFormat, into buffer: inout ByteBuffer) {
        // OpenMetrics describes the family, the older format the sample.
        let name = format == .openMetrics ? metric.family : metric.name
        let kind = format == .prometheus && metric.kind == .info ? MetricKind.gauge : metric.kind
        buffer.append(text: "# HELP \(name) \(metric.help)\n# TYPE \(name) \(kind.rawValue)\n")
        if format == .openMetrics, let unit = metric.unit {
            buffer.append(text: "# UNIT \(name) \(unit.rawValue)\n")
        }
    }

    private func renderSamples(
        of metric: MetricDefinition, _ format: ExpositionFormat, _ process: ProcessSample?,
        into buffer: inout ByteBuffer
    ) {
        switch metric.source {
        case .sum(let first):
            for index in 0..<metric.combinations {
                let labels = metric.labelText(index)
                renderSeries(of: metric, format, labels, into: &buffer) { offset in
                    self.sum(first + index * metric.cellsPerSeries + offset)
                }
            }
        case .perLoop(let first):
            for loop in 0..<loops {
                let shard = shard(loop)
                renderSeries(of: metric, format, "loop=\"\(loop)\"", into: &buffer) { shard.read(first + $0) }
            }
        case .up(let first):
            for index in 0..<metric.combinations {
                renderSeries(of: metric, format, metric.labelText(index), into: &buffer) { _ in
                    self.up(first + index) ? 1 : 0
                }
            }
        case .process(let value):
            renderProcessValue(value, of: metric, process, into: &buffer)
        }
    }

    private func renderSeries(
        of metric: MetricDefinition, _ format: ExpositionFormat, _ labels: String, into buffer: inout ByteBuffer,
        cell: (Int) -> UInt64
    ) {
        guard let ladder = metric.ladder else {
            renderName(metric.name, labels, into: &buffer)
            if metric.kind == .gauge {
                buffer.append(signed: Int64(bitPattern: cell(0)))
            } else {
                buffer.append(decimal: cell(0))
            }
            return buffer.append(UInt8(ascii: "\n"))
        }
        var running: UInt64 = 0
        let separator = labels.isEmpty ? "" : ","
        for (index, bound) in ladder.bounds.enumerated() {
            running = running &+ cell(index)
            buffer.append(text: "\(metric.name)_bucket{\(labels)\(separator)le=\"")
            renderBound(bound, of: metric, format, into: &buffer)
            buffer.append("\"} ")
            buffer.append(decimal: running)
            buffer.append(UInt8(ascii: "\n"))
        }
        running = running &+ cell(ladder.boundCount)
        buffer.append(text: "\(metric.name)_bucket{\(labels)\(separator)le=\"+Inf\"} \(running)\n")
        renderName(metric.name + "_sum", labels, into: &buffer)
        let sum = cell(ladder.boundCount + 1)
        if metric.unit == .seconds { buffer.append(seconds: sum) } else { buffer.append(decimal: sum) }
        buffer.append(UInt8(ascii: "\n"))
        renderName(metric.name + "_count", labels, into: &buffer)
        // From the buckets, not from a cell of its own: +Inf and count agree even in the middle of an observation.
        buffer.append(decimal: running)
        buffer.append(UInt8(ascii: "\n"))
    }

    private func renderBound(
        _ bound: UInt64, of metric: MetricDefinition, _ format: ExpositionFormat, into buffer: inout ByteBuffer
    ) {
        if metric.unit == .seconds { return buffer.append(seconds: bound, point: format == .openMetrics) }
        buffer.append(decimal: bound)
        if format == .openMetrics { buffer.append(".0") }
    }

    private func renderName(_ name: String, _ labels: String, into buffer: inout ByteBuffer) {
        buffer.append(text: labels.isEmpty ? "\(name) " : "\(name){\(labels)} ")
    }

    private func renderProcessValue(
        _ value: ProcessValue, of metric: MetricDefinition, _ process: ProcessSample?, into buffer: inout ByteBuffer
    ) {
        if value == .buildInfo {
            buffer.append(text: "\(metric.name){version=\"")
            buffer.append(labelValue: version)
            return buffer.append("\"} 1\n")
        }
        renderName(metric.name, "", into: &buffer)
        switch value {
        case .buildInfo: break
        case .logDropped: buffer.append(decimal: dropped)
        case .cpu: buffer.append(seconds: process?.cpuNanoseconds ?? 0)
        case .resident: buffer.append(decimal: process?.residentBytes ?? 0)
        case .virtual: buffer.append(decimal: process?.virtualBytes ?? 0)
        case .openDescriptors: buffer.append(decimal: process?.openDescriptors ?? 0)
        case .maxDescriptors: buffer.append(decimal: process?.maxDescriptors ?? 0)
        case .startTime: buffer.append(seconds: process?.startNanoseconds ?? 0)
        }
        buffer.append(UInt8(ascii: "\n"))
    }
}

extension ProcessValue {
    fileprivate var needsSample: Bool { self != .buildInfo && self != .logDropped }
}

extension MetricDefinition {
    /// Cells that one label combination takes in a shard.
    package var cellsPerSeries: Int { ladder?.cellCount ?? 1 }

    /// The labels of combination `index` as they stand between the braces; the last label moves fastest.
    func labelText(_ index: Int) -> String {
        var rest = index
        var pairs: [String] = []
        for label in labels.reversed() where !label.values.isEmpty {
            pairs.append("\(label.name)=\"\(label.values[rest % label.values.count])\"")
            rest /= label.values.count
        }
        return pairs.reversed().joined(separator: ",")
    }
}
