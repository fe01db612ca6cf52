// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours is built the same way: Swift 6 language mode, members visible only where their module is
/// imported.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

func library(_ name: String, path: String? = nil, exclude: [String] = [], _ dependencies: [Target.Dependency] = [])
    -> Target
{
    .target(name: name, dependencies: dependencies, path: path, exclude: exclude, swiftSettings: strict)
}

func executable(_ name: String, path: String? = nil, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, path: path, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "martlet",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // C shims.
        .target(name: "CLinux"),
        .target(name: "COpenSSL"),
        .target(name: "CHiredis"),
        .target(name: "CZlib"),

        // Sans-IO.
        library("Bytes"),
        library("HTTP", ["Bytes"]),
        library("WebSocket", ["Bytes", "HTTP", "CZlib"]),
        library("Wire", ["Bytes"]),
        library("Rooms", ["Bytes", "WebSocket", "Wire"]),

        // I/O.
        library("Telemetry", ["Bytes", logging]),
        library("Reactor", ["Bytes", "Telemetry", "CLinux", "COpenSSL"]),
        library("Redis", ["Bytes", "Telemetry", "Reactor", "CHiredis"]),

        // Composition.
        library(
            "Gateway",
            [
                "Bytes", "HTTP", "WebSocket", "Wire", "Rooms", "Telemetry", "Reactor", "Redis", logging,
                .product(name: "Configuration", package: "swift-configuration"),
            ]),
        library("Client", ["Bytes", "HTTP", "WebSocket", "Wire", "Reactor"]),
        executable("martlet", ["Bytes", "Gateway", "Telemetry", argumentParser, logging]),
        library("ChatTerminal", path: "Sources/martlet-chat/Terminal"),
        executable(
            "martlet-chat", path: "Sources/martlet-chat/Main",
            ["ChatTerminal", "Client", "Bytes", "Reactor", "Telemetry", "CLinux", argumentParser]),

        // Load tests.
        library(
            "LoadCore", path: "loadtest/LoadCore",
            [
                "Bytes", "HTTP", "WebSocket", "Telemetry", "Reactor",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ]),
        library(
            "VerifyCore", path: "loadtest/VerifyCore",
            ["Bytes", "HTTP", "WebSocket", "Wire", "Reactor", "Telemetry", "CLinux", "LoadCore"]),
        executable("martlet-load", path: "loadtest/martlet-load", ["LoadCore", "VerifyCore", argumentParser]),

        // Tests.
        library(
            "Fuzz", path: "Tests/Fuzz", exclude: ["Driver"], ["Bytes", "HTTP", "WebSocket", "Wire", "Redis"]),
        executable("martlet-fuzz", path: "Tests/Fuzz/Driver", ["Fuzz", "Bytes", "Reactor", argumentParser]),
        executable("reactor-probe", path: "Tests/ReactorProbe", ["Bytes", "Telemetry", "Reactor", "CLinux"]),
        library("TestSupport", path: "Tests/TestSupport", ["Bytes"]),
        library("ClusterSupport", path: "Tests/ClusterSupport", exclude: ["Python"], ["TestSupport"]),
        tests("ArchitectureTests", []),
        tests("BytesTests", ["Bytes"]),
        tests("HTTPTests", ["HTTP", "Bytes", "Fuzz"]),
        tests("WebSocketTests", ["WebSocket", "HTTP", "Bytes", "Fuzz"]),
        tests("WireTests", ["Wire", "Bytes", "Fuzz"]),
        tests("RoomsTests", ["Rooms", "Bytes", "WebSocket", "Wire"]),
        tests("TelemetryTests", ["Telemetry", "Bytes", logging]),
        tests("ReactorTests", ["Bytes", "Telemetry", "Reactor", "CLinux", "reactor-probe"]),
        tests("RedisTests", ["Redis", "Bytes", "Reactor", "Telemetry", "Fuzz"]),
        tests(
            "GatewayTests",
            [
                "Gateway", "Rooms", "Redis", "Reactor", "Telemetry", "WebSocket", "Wire", "Bytes", "Fuzz",
                "TestSupport", "martlet",
                logging,
            ]),
        tests("ClusterTests", ["ClusterSupport", "TestSupport", "martlet", "martlet-chat"]),
        tests("InteropTests", ["ClusterSupport", "TestSupport", "martlet"]),
        tests("ClientTests", ["Client", "Bytes", "HTTP", "WebSocket", "Reactor", "Telemetry"]),
        tests("MartletChatTests", ["ChatTerminal", "martlet", "martlet-chat"]),
        tests(
            "VerifyTests",
            ["VerifyCore", "LoadCore", "Bytes", "HTTP", "WebSocket", "Wire", "Reactor", "Telemetry"]),
        tests(
            "MartletLoadTests",
            ["LoadCore", "Bytes", "HTTP", "WebSocket", "Reactor", "Telemetry", "martlet-load"]),
    ]
)
