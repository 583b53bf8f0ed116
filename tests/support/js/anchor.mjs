// @coral-xyz/anchor with our IDL against a chain: makes a market and a job in it, hears of both, reads them back.
// Arguments: RPC URL, WebSocket URL, path of the IDL. Prints one JSON object.
import { readFileSync } from "node:fs";
import anchor from "@coral-xyz/anchor";

const { AnchorProvider, BN, Program, Wallet, web3 } = anchor;
const [rpcUrl, wsEndpoint, idlPath] = process.argv.slice(2);
const idl = JSON.parse(readFileSync(idlPath, "utf8"));
const connection = new web3.Connection(rpcUrl, { commitment: "confirmed", wsEndpoint });
const payer = web3.Keypair.generate();
const airdrop = await connection.requestAirdrop(payer.publicKey, 10 * web3.LAMPORTS_PER_SOL);
await connection.confirmTransaction({ signature: airdrop, ...(await connection.getLatestBlockhash()) }, "confirmed");
const program = new Program(idl, new AnchorProvider(connection, new Wallet(payer), { commitment: "confirmed" }));

const u64 = (value) => new BN(value).toArrayLike(Buffer, "le", 8);
const derive = (...seeds) => web3.PublicKey.findProgramAddressSync(seeds, program.programId);
const marketId = new BN(7);
const [market] = derive(Buffer.from("market"), payer.publicKey.toBuffer(), u64(marketId));
const nonce = new BN(42);
const [job, bump] = derive(Buffer.from("job"), market.toBuffer(), payer.publicKey.toBuffer(), u64(nonce));
const cid = [1, 0x55, 0x12, 0x20, ...Array(32).fill(9)];

const told = [];
const listener = connection.onProgramAccountChange(
  program.programId, (change) => told.push(change.accountId.toBase58()),
  { commitment: "confirmed", filters: [{ memcmp: { offset: 16, bytes: market.toBase58() } }] },
);
const terms = {
  feeBps: 100, slashBps: 1000, bondBps: 1000, claimSpreadSlots: 0, maxCapacity: 16, startCredit: 75,
  maxAttempts: 3, flags: 0, arbiter: payer.publicKey, feeReceiver: payer.publicKey, minPrice: new BN(1000),
  minStake: new BN(0), lockPerJob: new BN(0), creditPay: new BN(60000), maxTimeout: 86400, setupTimeout: 600,
  queueTimeout: 3600, reviewPeriod: 0, resolveTimeout: 259200, heartbeatTimeout: 120, finishGrace: 120,
  unstakeCooldown: 86400, specCid: Array(36).fill(0),
};
await program.methods.createMarket(marketId, terms)
  .accountsPartial({ authority: payer.publicKey, market, paymentMint: null, stakeMint: null }).rpc();
const shownMarket = await program.account.market.fetch(market);
const requirements = { minTrust: 1, gpuVendor: 0, gpuCount: 0, vramMb: 0, framework: 0 };
const createJob = (price) => program.methods
  .createJob(nonce, bump, 0, shownMarket.revision, cid, new BN(price), 60, requirements)
  .accountsPartial({
    client: payer.publicKey, market, job, paymentMint: null, from: null, escrow: null, tokenProgram: null,
  });
let tooCheap = null;
try {
  await createJob(1).rpc();
} catch (error) {
  // Anchor 0.32 doesn't find the code in the message of current web3.js, so it is read here.
  const code = Number(/custom program error: (0x[0-9a-f]+)/.exec(String(error))?.[1]);
  tooCheap = idl.errors.find((known) => known.code === code)?.name ?? String(error);
}
const signature = await createJob(2000).rpc();
const shownJob = await program.account.job.fetch(job);
const inMarket = await program.account.job.all([{ memcmp: { offset: 16, bytes: market.toBase58() } }]);
const transaction = await connection.getTransaction(signature, { commitment: "confirmed", maxSupportedTransactionVersion: 0 });
const events = [...new anchor.EventParser(program.programId, program.coder).parseLogs(transaction.meta.logMessages)];

const started = Date.now();
while (told.length === 0 && Date.now() - started < 10_000) await new Promise((r) => setTimeout(r, 20));
await connection.removeProgramAccountChangeListener(listener);

console.log(JSON.stringify({
  market: market.toBase58(),
  job: job.toBase58(),
  payer: payer.publicKey.toBase58(),
  min_price: shownMarket.minPrice.toNumber(),
  price: shownJob.price.toNumber(),
  deposit: shownJob.deposit.toNumber(),
  state: shownJob.state,
  jobs: inMarket.map((one) => one.publicKey.toBase58()),
  too_cheap: tooCheap,
  events: events.map((event) => event.name),
  told: [...new Set(told)],
}));
process.exit(0);
