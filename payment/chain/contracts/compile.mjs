// Compiles src/*.sol and writes artifacts/<Contract>.json: abi and creation code, nothing that varies by machine.
import { readFileSync, readdirSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const solc = require("solc");
const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "artifacts");
const contracts = ["Anchors", "ERC3009DepositCollector", "Multicall3", "Settlement", "TestToken"];

const sources = {};
for (const name of readdirSync(join(here, "src")).sort()) {
  sources[`src/${name}`] = { content: readFileSync(join(here, "src", name), "utf8") };
}
const input = {
  language: "Solidity",
  sources,
  settings: {
    // Cancun is the oldest fork with transient storage, which Settlement needs.
    evmVersion: "cancun",
    optimizer: { enabled: true, runs: 10000 },
    // No metadata hash: the code must depend on the code alone.
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
  },
};
const findImport = (path) => ({ contents: readFileSync(join(here, "node_modules", path), "utf8") });
const result = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
// 2394 warns of transient storage in general; OpenZeppelin's guard clears its slot at the end of each call.
const errors = (result.errors ?? []).filter((e) => e.errorCode !== "2394");
for (const e of errors) console.error(e.formattedMessage);
if (errors.length) process.exit(1);

mkdirSync(out, { recursive: true });
for (const name of contracts) {
  const c = result.contracts[`src/${name}.sol`][name];
  const abi = c.abi.map((entry) => "    " + JSON.stringify(entry)).join(",\n");
  writeFileSync(
    join(out, `${name}.json`),
    `{\n  "contractName": "${name}",\n  "abi": [\n${abi}\n  ],\n  "bytecode": "0x${c.evm.bytecode.object}"\n}\n`,
  );
}
