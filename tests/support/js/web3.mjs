// @solana/web3.js against a chain: airdrop, transfer, confirm, look up, fail, subscribe.
// Arguments: RPC URL, WebSocket URL. Prints one JSON object.
import {
  Connection, Keypair, LAMPORTS_PER_SOL, SendTransactionError, SystemProgram, Transaction,
  TransactionMessage, VersionedTransaction, sendAndConfirmTransaction,
} from "@solana/web3.js";

const [rpcUrl, wsEndpoint] = process.argv.slice(2);
const connection = new Connection(rpcUrl, { commitment: "confirmed", wsEndpoint });
const payer = Keypair.generate();
const to = Keypair.generate().publicKey;
const transfer = (lamports) =>
  SystemProgram.transfer({ fromPubkey: payer.publicKey, toPubkey: to, lamports });

const airdrop = await connection.requestAirdrop(payer.publicKey, 10 * LAMPORTS_PER_SOL);
const latest = await connection.getLatestBlockhash();
await connection.confirmTransaction({ signature: airdrop, ...latest }, "confirmed");

const heard = { account: null, logs: null, slot: null };
const subscriptions = [
  connection.onAccountChange(to, (account) => { heard.account = account.lamports; }, { commitment: "confirmed" }),
];
const logs = connection.onLogs(to, (entry) => { heard.logs = entry.logs.length; }, "confirmed");
const slots = connection.onSlotChange((info) => { heard.slot = info.slot; });
// The subscriptions have no event that says "ready": the first slot comes after the others were sent.
const started = Date.now();
while (heard.slot === null && Date.now() - started < 10_000) await new Promise((r) => setTimeout(r, 20));

const legacy = await sendAndConfirmTransaction(connection, new Transaction().add(transfer(LAMPORTS_PER_SOL)), [payer]);
const message = new TransactionMessage({
  payerKey: payer.publicKey,
  recentBlockhash: (await connection.getLatestBlockhash()).blockhash,
  instructions: [transfer(LAMPORTS_PER_SOL)],
}).compileToV0Message();
const versioned = new VersionedTransaction(message);
versioned.sign([payer]);
const v0 = await connection.sendTransaction(versioned);
await connection.confirmTransaction({ signature: v0, ...(await connection.getLatestBlockhash()) }, "confirmed");
const shown = await connection.getTransaction(v0, { maxSupportedTransactionVersion: 0 });
const parsed = await connection.getParsedTransaction(legacy, { maxSupportedTransactionVersion: 0 });

let preflight = null;
try {
  await sendAndConfirmTransaction(connection, new Transaction().add(transfer(100 * LAMPORTS_PER_SOL)), [payer]);
} catch (error) {
  preflight = error instanceof SendTransactionError ? error.transactionError.message : String(error);
}
const failing = new Transaction({ feePayer: payer.publicKey, ...(await connection.getLatestBlockhash()) })
  .add(transfer(100 * LAMPORTS_PER_SOL));
failing.sign(payer);
const failed = await connection.sendRawTransaction(failing.serialize(), { skipPreflight: true });
const result = await connection.confirmTransaction({ signature: failed, ...(await connection.getLatestBlockhash()) }, "confirmed");

const waiting = Date.now();
while ((heard.account === null || heard.logs === null) && Date.now() - waiting < 10_000)
  await new Promise((r) => setTimeout(r, 20));
await connection.removeAccountChangeListener(subscriptions[0]);
await connection.removeOnLogsListener(logs);
await connection.removeSlotChangeListener(slots);

console.log(JSON.stringify({
  balance: await connection.getBalance(to),
  history: (await connection.getSignaturesForAddress(to)).length,
  version: shown.version,
  fee: shown.meta.fee,
  parsed: parsed.transaction.message.instructions[0].parsed.info.lamports,
  preflight,
  failure: result.value.err,
  heard: { account: heard.account > 0, logs: heard.logs > 0, slot: heard.slot > 0 },
  epoch: (await connection.getEpochInfo()).slotsInEpoch,
  version_ok: typeof (await connection.getVersion())["solana-core"] === "string",
  supply: (await connection.getSupply()).value.total > 0,
}));
process.exit(0);
