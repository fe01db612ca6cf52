// The writer's promise: lines arrive in order; a stopped or broken destination costs lines, which are counted, and
// never the caller's time.

import Bytes
import Glibc
import Logging
import Synchronization
import Telemetry
import Testing

/// Both ends of a pipe; closed when the test ends.
private final class Pipe: @unchecked Sendable {
    let reading: Int32
    let writing: Int32
    private var writerOpen = true

    init() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        reading = ends[0]
        writing = ends[1]
    }

    func closeWriter() {
        if writerOpen { close(writing) }
        writerOpen = false
    }

    /// Reads until the writing end is closed.
    func readAll() -> String {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while case let count = Glibc.read(reading, &chunk, chunk.count), count > 0 { all += chunk[..<count] }
        return String(decoding: all, as: UTF8.self)
    }

    /// Reads exactly `count` bytes.
    func read(exactly count: Int) -> [UInt8] {
        var all: [UInt8] = []
        while all.count < count {
            var chunk = [UInt8](repeating: 0, count: count - all.count)
            let got = Glibc.read(reading, &chunk, chunk.count)
            guard got > 0 else { break }
            all += chunk[..<got]
        }
        return all
    }

    deinit {
        closeWriter()
        close(reading)
    }
}

@Suite struct LogWriterTests {
    @Test func `a logger's lines arrive whole, in order, with its attributes`() throws {
        let pipe = try Pipe()
        let writer = LogWriter(descriptor: pipe.writing, style: .json, clock: { 0 })
        var logger = Logger(label: "test") { _ in MartletLogHandler(writer: writer, level: .info, metadata: ["a": "1"])
        }
        logger[metadataKey: "b"] = "2"
        logger.info("first")
        logger.debug("below the level")
        logger.error("second", metadata: ["a": "own"])
        #expect(writer.stop(timeout: .seconds(30)))
        pipe.closeWriter()
        let prefix = #"{"timestamp":"1970-01-01T00:00:00.000Z","severity_text":"#
        #expect(
            pipe.readAll() == prefix
                + "\"INFO\",\"severity_number\":9,\"body\":\"first\",\"attributes\":{\"a\":\"1\",\"b\":\"2\"}}\n"
                + prefix
                + "\"ERROR\",\"severity_number\":17,\"body\":\"second\",\"attributes\":{\"a\":\"own\",\"b\":\"2\"}}\n")
    }

    @Test func `many threads' lines are all there, none torn`() async throws {
        let pipe = try Pipe()
        let writer = LogWriter(descriptor: pipe.writing, style: .text(colour: false), queueLimit: 64 << 20)
        let reader = Task.detached { pipe.readAll() }
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                group.addTask { for number in 0..<500 { writer.log(.info, "w\(worker)n\(number)") } }
            }
        }
        #expect(writer.stop(timeout: .seconds(30)))
        pipe.closeWriter()
        let lines = await reader.value.split(separator: "\n")
        #expect(lines.count == 4000)
        for worker in 0..<8 {
            let own = lines.compactMap { $0.contains(" w\(worker)n") ? $0.split(separator: "n").last : nil }
            #expect(own == (0..<500).map { Substring("\($0)") })
        }
        #expect(writer.droppedLines == 0)
    }

    /// The pipe is full and nobody reads: logging goes on, lines beyond the limit are counted, and the log says so.
    @Test func `a stopped destination costs counted lines and never the caller's time`() throws {
        let pipe = try Pipe()
        let writer = LogWriter(descriptor: pipe.writing, style: .text(colour: false), queueLimit: 100_000)
        let body = String(repeating: "x", count: 1000)
        // 64 KiB of pipe, at most two queues of 100,000 bytes: of 2,000 lines most cannot fit. Reaching the next
        // statement at all is the proof that the caller did not wait.
        for _ in 0..<2000 { writer.log(.info, body) }
        #expect(writer.droppedLines > 1000)
        #expect(!writer.flush(timeout: .milliseconds(1)))
        let reader = Thread { pipe.readAll() }
        #expect(writer.flush(timeout: .seconds(30)))
        writer.log(.info, "after")
        #expect(writer.stop(timeout: .seconds(30)))
        pipe.closeWriter()
        let text = reader.join()
        #expect(text.contains("log lines were dropped martlet.log.dropped="))
        #expect(text.contains("after"))
        let arrived = text.split(separator: "\n").filter { $0.hasSuffix(body) }.count
        #expect(UInt64(arrived) + writer.droppedLines == 2000)
    }

    @Test func `a flush waits for what is being written, not only for what is queued`() throws {
        let pipe = try Pipe()
        let pipeSizeCommand: Int32 = 1031
        try #require(fcntl(pipe.writing, pipeSizeCommand, 4096) == 4096, "F_SETPIPE_SZ")
        let writer = LogWriter(descriptor: pipe.writing, style: .text(colour: false))
        writer.log(.info, String(repeating: "x", count: 8000))
        // Once the first byte is there the queue is empty, and the rest of the line does not fit into the pipe.
        var state = pollfd(fd: pipe.reading, events: Int16(POLLIN), revents: 0)
        try #require(poll(&state, 1, 30_000) == 1)
        #expect(!writer.flush(timeout: .milliseconds(1)))
        let reader = Thread { pipe.readAll() }
        #expect(writer.stop(timeout: .seconds(30)))
        pipe.closeWriter()
        #expect(reader.join().utf8.count > 8000)
    }

    @Test func `a closed destination costs counted lines, not the process`() throws {
        let pipe = try Pipe()
        let writer = LogWriter(descriptor: -1, style: .json)
        for _ in 0..<10 { writer.log(.error, "nowhere") }
        #expect(writer.stop(timeout: .seconds(30)))
        #expect(writer.droppedLines >= 10)
        _ = pipe
    }

    @Test func `a stopped writer drops and counts`() throws {
        let pipe = try Pipe()
        let writer = LogWriter(descriptor: pipe.writing, style: .json)
        #expect(writer.stop(timeout: .seconds(30)))
        writer.log(.info, "late")
        #expect(writer.droppedLines == 1)
    }

    @Test func `an error's type and text become attributes`() throws {
        struct Trouble: Error, CustomStringConvertible { var description: String { "line\nbreak" } }
        let pipe = try Pipe()
        let writer = LogWriter(descriptor: pipe.writing, style: .text(colour: false), clock: { 0 })
        let handler = MartletLogHandler(writer: writer, level: .trace)
        handler.log(
            event: LogEvent(
                level: .error, message: "failed", error: Trouble(), metadata: nil, source: nil, file: #file,
                function: #function, line: #line))
        #expect(writer.stop(timeout: .seconds(30)))
        pipe.closeWriter()
        #expect(
            pipe.readAll()
                == "1970-01-01T00:00:00.000Z ERROR failed error.message=\"line\\nbreak\" error.type=Trouble\n")
    }

    @Test func `repeated errors are sampled and the left-out ones counted`() {
        var sampler = LogSampler(burst: 2, window: .seconds(10))
        let start = MonotonicTime(nanoseconds: 5)
        #expect(sampler.admit(at: start) == 0)
        #expect(sampler.admit(at: start) == 0)
        for _ in 0..<100 { #expect(sampler.admit(at: start + .seconds(9)) == nil) }
        #expect(sampler.admit(at: start + .seconds(10)) == 100)
        #expect(sampler.admit(at: start + .seconds(10)) == 0)
        #expect(sampler.admit(at: start + .seconds(10)) == nil)
    }
}

/// A joinable thread with a result, for reading a pipe while the test goes on.
private final class Thread: @unchecked Sendable {
    private var result = ""
    private var thread = pthread_t()
    private let work: () -> String

    init(_ work: @escaping () -> String) {
        self.work = work
        pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let thread = Unmanaged<Thread>.fromOpaque(argument).takeRetainedValue()
                thread.result = thread.work()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
    }

    func join() -> String {
        pthread_join(thread, nil)
        return result
    }
}
