// Processor time and memory of all processes of a bench, and how they are told: whoever reads a figure sees who was the
// bottleneck. Read between phases, never in one.

import Bytes
import Glibc
import LoadCore
import Reactor

extension Bench {
    /// Processor time and memory of gateways, Redis and this tool, now.
    func sample() -> BenchSample {
        BenchSample(
            at: .now(), gateways: ProcessProbe.sample(gatewayPids) ?? ProcessSample(),
            redis: rig?.redis.flatMap { ProcessProbe.sample([$0.pid]) },
            tool: ProcessProbe.sample(fleet.pids + [getpid()]) ?? ProcessSample())
    }
}

/// What processes have used up to a moment.
struct BenchSample {
    let at: MonotonicTime
    let gateways: ProcessSample
    let redis: ProcessSample?
    let tool: ProcessSample

    /// Percent of one core that each used since `before`.
    func line(since before: BenchSample) -> String {
        let seconds = max(0.001, at.since(before.at).inSeconds)
        func share(_ now: ProcessSample, _ then: ProcessSample) -> String {
            let used = Double(now.processorTime - min(then.processorTime, now.processorTime)) / 1e9
            return JSONText.short((used / seconds * 1000).rounded() / 10) + " %"
        }
        var text = "gateways \(share(gateways, before.gateways))"
        if let redis, let then = before.redis { text += ", Redis \(share(redis, then))" }
        return text + ", tool \(share(tool, before.tool)) of a core; gateways \(gateways.resident >> 20) MiB resident"
    }
}
