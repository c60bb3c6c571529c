"""Runs token ids through vLLM offline, greedily: the same work in any version, on any device.

    python prompt_ids.py MODEL 1,5,9,200 [MORE IDS] ...

With PYTHONPATH=capture and IL_CAPTURE_CONFIG set, the run is recorded (capture/README.md).
"""
import sys

from vllm import LLM, SamplingParams

if __name__ == "__main__":
    model, prompts = sys.argv[1], [[int(i) for i in ids.split(",")] for ids in sys.argv[2:]]
    llm = LLM(model=model, enforce_eager=True, enable_prefix_caching=False)
    for out in llm.generate([{"prompt_token_ids": ids} for ids in prompts], SamplingParams(temperature=0, max_tokens=2)):
        print(",".join(str(i) for i in out.outputs[0].token_ids))
