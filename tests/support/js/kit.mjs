// @solana/kit against a chain: airdrop, transfer, confirm by subscription.
// Arguments: RPC URL, WebSocket URL. Prints one JSON object.
import {
  airdropFactory, appendTransactionMessageInstruction, createSolanaRpc, createSolanaRpcSubscriptions,
  createTransactionMessage, generateKeyPairSigner, getSignatureFromTransaction, lamports, pipe,
  sendAndConfirmTransactionFactory, setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash, signTransactionMessageWithSigners, address, AccountRole,
} from "@solana/kit";

const [rpcUrl, wsUrl] = process.argv.slice(2);
const rpc = createSolanaRpc(rpcUrl);
const rpcSubscriptions = createSolanaRpcSubscriptions(wsUrl);
const payer = await generateKeyPairSigner();
const to = (await generateKeyPairSigner()).address;

await airdropFactory({ rpc, rpcSubscriptions })({
  recipientAddress: payer.address, lamports: lamports(10_000_000_000n), commitment: "confirmed",
});

const data = new Uint8Array(12);
new DataView(data.buffer).setUint32(0, 2, true);
new DataView(data.buffer).setBigUint64(4, 1_000_000_000n, true);
const { value: latest } = await rpc.getLatestBlockhash({ commitment: "confirmed" }).send();
const message = pipe(
  createTransactionMessage({ version: 0 }),
  (m) => setTransactionMessageFeePayerSigner(payer, m),
  (m) => setTransactionMessageLifetimeUsingBlockhash(latest, m),
  (m) => appendTransactionMessageInstruction({
    programAddress: address("11111111111111111111111111111111"),
    accounts: [
      { address: payer.address, role: AccountRole.WRITABLE_SIGNER },
      { address: to, role: AccountRole.WRITABLE },
    ],
    data,
  }, m),
);
const signed = await signTransactionMessageWithSigners(message);
await sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions })(signed, { commitment: "confirmed" });
const shown = await rpc.getTransaction(getSignatureFromTransaction(signed), {
  commitment: "confirmed", encoding: "json", maxSupportedTransactionVersion: 0,
}).send();

console.log(JSON.stringify({
  balance: Number((await rpc.getBalance(to, { commitment: "confirmed" }).send()).value),
  fee: Number(shown.meta.fee),
  err: shown.meta.err,
}));
process.exit(0);
