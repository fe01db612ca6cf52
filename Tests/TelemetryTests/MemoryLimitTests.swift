// The memory limit of a control group, from texts as kernels write them.

import Testing

@testable import Telemetry

@Suite struct MemoryLimitTests {
    private static func limit(_ files: [String: String]) -> UInt64? {
        MemoryLimit.ofControlGroup { files[$0] ?? "" }
    }

    @Test func `version 2: the smallest of the group and those above it`() {
        let group = "0::/system.slice/martlet.service\n"
        let base = "/sys/fs/cgroup"
        #expect(Self.limit(["/proc/self/cgroup": group]) == nil)
        #expect(
            Self.limit([
                "/proc/self/cgroup": group, base + "/system.slice/martlet.service/memory.max": "max\n",
                base + "/system.slice/memory.max": "2147483648\n",
            ]) == 2_147_483_648)
        #expect(
            Self.limit([
                "/proc/self/cgroup": group, base + "/system.slice/martlet.service/memory.max": "1000\n",
                base + "/system.slice/memory.max": "2000\n",
            ]) == 1000)
    }

    @Test func `in a container the root is the own group`() {
        #expect(
            Self.limit(["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "536870912\n"]) == 536_870_912)
        #expect(
            Self.limit([
                "/proc/self/cgroup": "4:memory:/docker/abc\n0::/\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
            ]) == 536_870_912)
    }

    @Test func `version 1: an immense number is none`() {
        let file = "/sys/fs/cgroup/memory/a/memory.limit_in_bytes"
        let group = "9:name=systemd:/\n4:cpu,memory:/a\n"
        #expect(Self.limit(["/proc/self/cgroup": group, file: "9223372036854771712\n"]) == nil)
        #expect(Self.limit(["/proc/self/cgroup": group, file: "4096\n"]) == 4096)
    }

    @Test(arguments: [
        "", "x", "0::", ":::", "0:", "0::/a/b\n0::/c", "4:memory:\n", "\n\n",
        "0::/" + String(repeating: "a/", count: 5000),
    ])
    func `odd texts give none`(text: String) {
        #expect(Self.limit(["/proc/self/cgroup": text]) == nil)
        for value in ["", "max", "-1", "0", "1e9", "99999999999999999999999"] {
            #expect(Self.limit(["/proc/self/cgroup": text, "/sys/fs/cgroup/memory.max": value]) == nil)
        }
    }

    @Test func `this process' resident memory is read`() {
        let bytes = ProcessSample.residentBytes()
        let whole = ProcessSample.read().residentBytes
        #expect(bytes > 1 << 20 && bytes < 4 * whole)
    }
}
