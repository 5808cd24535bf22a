"""A stand-in for `vllm serve`: its command line, HTTP, metrics and signals, with numbers for tokens.

As vLLM does: it listens only once the model is loaded; /health is 200 to the very end; SIGTERM aborts what is in flight, unless
--shutdown-timeout lets it finish. FAKE_VLLM_METRICS=old gives the older names; FAKE_VLLM_TOKEN_S slows it down.
"""

import argparse
import asyncio
import json
import os
import signal

from aiohttp import web

TOKEN_S = float(os.environ.get("FAKE_VLLM_TOKEN_S", "0.01"))
OLD = os.environ.get("FAKE_VLLM_METRICS") == "old"


def parse():
    parser = argparse.ArgumentParser(prog="vllm")
    serve = parser.add_subparsers(required=True).add_parser("serve")
    serve.add_argument("model_tag")
    serve.add_argument("--host")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--served-model-name", nargs="+")
    serve.add_argument("--max-num-seqs", type=int, default=256)
    serve.add_argument("--max-model-len", type=int)
    serve.add_argument("--tensor-parallel-size", type=int, default=1)
    serve.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    serve.add_argument("--shutdown-timeout", type=int, default=0)
    return parser.parse_args()


class Engine:
    def __init__(self, options):
        self.options, self.slots = options, asyncio.Semaphore(options.max_num_seqs)
        self.name = (options.served_model_name or [options.model_tag])[0]
        self.running = self.waiting = self.tokens = self.prompts = self.done = 0
        self.tasks = set()

    async def answer(self, request):
        body = await request.json()
        if body.get("model") != self.name:
            return web.json_response({"error": {"message": f"The model `{body.get('model')}` does not exist."}}, status=404)
        self.tasks.add(asyncio.current_task())
        self.waiting += 1
        try:
            async with self.slots:
                self.waiting, self.running = self.waiting - 1, self.running + 1
                try:
                    return await self.generate(request, body)
                finally:
                    self.running -= 1
        finally:
            self.tasks.discard(asyncio.current_task())

    async def generate(self, request, body):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        self.prompts += 1
        for number in range(body.get("max_tokens", 8)):
            await asyncio.sleep(TOKEN_S)
            self.tokens += 1
            choice = {"index": 0, "text": f" {number}", "logprobs": None, "finish_reason": None}
            event = {"id": "cmpl-1", "object": "text_completion", "choices": [choice]}
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.done += 1
        await response.write(b"data: [DONE]\n\n")
        return response

    async def metrics(self, request):
        labels = f'{{engine="0",model_name="{self.name}"}}'
        kv = "gpu_cache_usage_perc" if OLD else "kv_cache_usage_perc"
        itl = "time_per_output_token_seconds" if OLD else "inter_token_latency_seconds"
        lines = [
            f"vllm:num_requests_running{labels} {float(self.running)}", f"vllm:num_requests_waiting{labels} {float(self.waiting)}",
            f"vllm:{kv}{labels} 0.25", f"vllm:generation_tokens_total{labels} {float(self.tokens)}",
            f"vllm:prompt_tokens_total{labels} {float(self.prompts)}",
            f'vllm:request_success_total{{engine="0",finished_reason="length",model_name="{self.name}"}} {float(self.done)}',
            f'vllm:{itl}_bucket{{engine="0",le="0.025",model_name="{self.name}"}} {float(self.tokens)}',
            f'vllm:{itl}_bucket{{engine="0",le="+Inf",model_name="{self.name}"}} {float(self.tokens)}',
        ]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


async def main():
    options = parse()
    await asyncio.sleep(0.2)  # loads the model: nothing listens before
    engine, told = Engine(options), asyncio.Event()
    application = web.Application()
    application.router.add_post("/v1/completions", engine.answer)
    application.router.add_get("/metrics", engine.metrics)
    application.router.add_get("/health", lambda request: asyncio.sleep(0, web.Response()))
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, options.host, options.port).start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    print("INFO: Application startup complete.", flush=True)
    await told.wait()
    if engine.tasks and options.shutdown_timeout:
        await asyncio.wait(engine.tasks, timeout=options.shutdown_timeout)
    for task in tuple(engine.tasks):
        task.cancel()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
