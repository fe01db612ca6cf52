// Addresses and networks: every spelling that is one, and the many that are not.

import Bytes
import Glibc
import Testing

@Suite struct InternetAddressTests {
    @Test func `NET-07 both families are read, and a mapped address is the IPv4 address`() throws {
        let plain = try #require(InternetAddress("192.0.2.7"))
        #expect(plain == InternetAddress(v4: 0xC000_0207) && plain.isV4)
        for same in ["::ffff:192.0.2.7", "::FFFF:c000:0207", "0:0:0:0:0:ffff:192.0.2.7"] {
            #expect(InternetAddress(same) == plain)
        }
        #expect(InternetAddress("2001:db8::1") == InternetAddress(v6: 0x2001_0db8_0000_0000, 1))
        #expect(InternetAddress("::") == InternetAddress(v6: 0, 0))
        #expect(InternetAddress("::1.2.3.4") == InternetAddress(v6: 0, 0x0102_0304))
        #expect(InternetAddress("1:2:3:4:5:6:7::") == InternetAddress(v6: 0x0001_0002_0003_0004, 0x0005_0006_0007_0000))
        #expect(InternetAddress("::2:3:4:5:6:7:8") == InternetAddress(v6: 0x0000_0002_0003_0004, 0x0005_0006_0007_0008))
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.", ".1.2.3.4", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.00", "1..2.3",
        "0x1.2.3.4",
        " 1.2.3.4", "1.2.3.4 ", "1.2.3.4:80", "[::1]", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "12345::", "g::", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:", "1:",
        "fe80::1%eth0", "::1.2.3", "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::", "::1.2.3.4:5", "::01.2.3.4", "-1.2.3.4",
        "\u{661}.2.3.4", "1.2.3.4\u{0}", "00000000000000000000000000000000000000000000::",
    ])
    func `what is no address is none`(text: String) { #expect(InternetAddress(text) == nil) }

    @Test func `random texts of the alphabet are judged as the system judges them`() {
        let seed = UInt64.random(in: .min ... .max)
        print("address seed \(seed)")
        var random = SeededRandom(seed: seed)
        let pieces = ["1", "0", "ff", "a1b2", "::", ":", ":", ".", "255", "256", "7.8.9.1", "1:2:3", "00", "12345"]
        var addresses = 0
        for _ in 0..<100_000 {
            let text = (0..<Int.random(in: 1...9, using: &random)).map { _ in
                pieces[Int.random(in: 0..<pieces.count, using: &random)]
            }.joined()
            var system = in6_addr()
            let mapped = text.contains(":") ? text : "::ffff:" + text
            let isAddress = inet_pton(AF_INET6, mapped, &system) == 1
            let expected = withUnsafeBytes(of: system) {
                InternetAddress(
                    v6: UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                    UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
            }
            // Without a dot and a colon "::ffff:" makes an address of what is none.
            guard text.contains(":") || text.contains(".") else { continue }
            if isAddress { addresses += 1 }
            let found = InternetAddress(text)
            #expect(found == (isAddress ? expected : nil), "seed \(seed): \(text)")
        }
        #expect(addresses > 100)
    }
}

@Suite struct NetworkTests {
    @Test func `a network holds what its prefix says`() throws {
        let cases: [(String, inside: [String], outside: [String])] = [
            (
                "10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
                ["9.255.255.255", "11.0.0.0", "::a00:1"]
            ),
            ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
            ("0.0.0.0/0", ["1.2.3.4", "255.255.255.255"], ["::1", "2001:db8::1"]),
            ("2001:db8::/33", ["2001:db8:7fff::1"], ["2001:db8:8000::", "2001:db9::"]),
            ("::/0", ["::1", "fe80::1"], ["1.2.3.4", "::ffff:1.2.3.4"]),
            ("::1", ["::1"], ["::2", "127.0.0.1"]),
            ("::ffff:10.0.0.0/104", ["10.9.9.9"], ["11.0.0.0"]),
            ("2001:db8::4/126", ["2001:db8::7"], ["2001:db8::8"]),
        ]
        for (text, inside, outside) in cases {
            let network = try #require(Network(text), "\(text)")
            for address in inside {
                #expect(network.contains(try #require(InternetAddress(address))), "\(text) \(address)")
            }
            for address in outside {
                #expect(!network.contains(try #require(InternetAddress(address))), "\(text) \(address)")
            }
        }
        let both = Networks([try #require(Network("10.0.0.0/8")), try #require(Network("::1"))])
        #expect(both.contains(InternetAddress(v4: 0x0A00_0001)) && both.contains(InternetAddress(v6: 0, 1)))
        #expect(!both.contains(InternetAddress(v4: 0x0B00_0001)) && !Networks().contains(InternetAddress(v6: 0, 1)))
    }

    @Test(arguments: [
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8/8", "10.0.0.1/8", "10/8",
        "2001:db8::/129", "2001:db8::1/64", "localhost", "10.0.0.0 /8", "10.0.0.0/ 8", "10.0.0.0/+8", "*", "::/1000",
        "10.0.0.0/255.0.0.0",
    ])
    func `what is no network is none`(text: String) { #expect(Network(text) == nil) }
}
