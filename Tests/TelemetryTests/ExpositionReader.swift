// A strict reader of the text formats, for tests only: it accepts what a Prometheus server accepts and nothing more.

import Bytes
import Telemetry
import Testing

/// What a scraper understands of a registry's text.
struct Exposition {
    struct Sample {
        var name: String
        /// Name and labels as they stand in the text.
        var series: String
        var labels: [String: String]
        var value: Double
    }

    var samples: [Sample] = []
    var types: [String: String] = [:]
    var units: [String: String] = [:]
    var endsWithMark = false
    let text: String

    init(_ registry: MetricRegistry, _ format: ExpositionFormat = .prometheus) {
        var buffer = ByteBuffer()
        registry.render(into: &buffer, format: format, process: ProcessSample.read())
        text = String(decoding: buffer.bytes, as: UTF8.self)
        #expect(text.hasSuffix("\n"))
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() { read(String(line)) }
    }

    func value(_ series: String) -> Double? { samples.first { $0.series == series }?.value }

    private mutating func read(_ line: String) {
        #expect(!endsWithMark, "nothing may follow # EOF: \(line)")
        if line == "# EOF" { return endsWithMark = true }
        let words = line.split(separator: " ", maxSplits: 3).map(String.init)
        if words.first == "#" {
            guard words.count >= 4 else {
                Issue.record("odd comment: \(line)")
                return
            }
            if words[1] == "TYPE" {
                #expect(types[words[2]] == nil, "described twice: \(line)")
                types[words[2]] = words[3]
            }
            if words[1] == "UNIT" { units[words[2]] = words[3] }
            return
        }
        guard let space = line.lastIndex(of: " "), let value = Double(line[line.index(after: space)...]) else {
            Issue.record("no value: \(line)")
            return
        }
        let series = String(line[..<space])
        let name = String(series.prefix { $0 != "{" })
        #expect(name.first.map { $0.isLetter || $0 == "_" } ?? false, "odd name: \(line)")
        samples.append(Sample(name: name, series: series, labels: labels(of: series, name), value: value))
    }

    private func labels(of series: String, _ name: String) -> [String: String] {
        var rest = series.dropFirst(name.count)
        guard !rest.isEmpty else { return [:] }
        #expect(rest.first == "{" && rest.last == "}" && rest.count > 2, "odd labels: \(series)")
        rest = rest.dropFirst().dropLast()
        var found: [String: String] = [:]
        while !rest.isEmpty {
            let label = rest.prefix { $0 != "=" }
            rest = rest.dropFirst(label.count)
            #expect(rest.hasPrefix("=\""), "odd labels: \(series)")
            rest = rest.dropFirst(2)
            var value = ""
            while let character = rest.first, character != "\"" {
                rest = rest.dropFirst()
                guard character == "\\" else {
                    value.append(character)
                    continue
                }
                guard let escaped = rest.popFirst(), ["n", "\\", "\""].contains(escaped) else {
                    Issue.record("odd escape: \(series)")
                    return found
                }
                value.append(escaped == "n" ? "\n" : escaped)
            }
            #expect(rest.first == "\"", "open label: \(series)")
            rest = rest.dropFirst()
            #expect(found[String(label)] == nil, "label twice: \(series)")
            found[String(label)] = value
            if rest.first == "," { rest = rest.dropFirst() }
        }
        return found
    }
}
