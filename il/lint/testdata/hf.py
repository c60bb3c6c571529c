"""Sessions as the GPU logger of variant B would write them, of small random models of transformers 5.12:
python3 hf.py DIR. The zip files beside this are steps 0-2 of llama-bfloat16 and gemma2-float32."""
import os, torch, sys, transformers
from transformers import AutoModelForCausalLM
from transformers import LlamaConfig, Qwen3Config, Gemma2Config, MixtralConfig, OPTConfig, GPT2Config, Gemma3TextConfig, GraniteConfig, CohereConfig, Qwen3MoeConfig
base=dict(vocab_size=128,hidden_size=32,intermediate_size=48,num_hidden_layers=3,num_attention_heads=4,num_key_value_heads=2,head_dim=8,max_position_embeddings=128,pad_token_id=0,bos_token_id=1,eos_token_id=None)
cfgs={'llama':LlamaConfig(**base),'qwen3':Qwen3Config(**base),'gemma2':Gemma2Config(**base,sliding_window=8),'gemma3':Gemma3TextConfig(**base,sliding_window=8),
 'mixtral':MixtralConfig(**base,num_local_experts=4),'granite':GraniteConfig(**base),'cohere':CohereConfig(**base),
 'opt':OPTConfig(vocab_size=128,hidden_size=32,ffn_dim=48,num_hidden_layers=3,num_attention_heads=4,max_position_embeddings=128,word_embed_proj_dim=32,pad_token_id=0,eos_token_id=None),
 'qwen3moe':Qwen3MoeConfig(**base,num_experts=4,num_experts_per_tok=2,moe_intermediate_size=16),
 'gpt2':GPT2Config(vocab_size=128,n_embd=32,n_layer=3,n_head=4,n_positions=128,eos_token_id=None)}
def save(d,pre,x):
    if isinstance(x,torch.Tensor): torch.save(x,f'{d}/{pre}_cpu.pt')
    elif isinstance(x,(tuple,list)):
        for i,y in enumerate(x): save(d,f'{pre}_{i}',y)
    elif isinstance(x,dict):
        for k,y in x.items(): save(d,f'{pre}_{k}',y)
for name,cfg in cfgs.items():
  for dt in (torch.float32,torch.bfloat16):
    torch.manual_seed(0)
    try: m=AutoModelForCausalLM.from_config(cfg).to(dt).eval()
    except Exception as e: print(name,e); continue
    root=f'{sys.argv[1]}/{name}-{str(dt)[6:]}'; S=[0]; cnt={}
    def pre(mod,args,n):
        c=cnt.get(n,-1)+1; cnt[n]=c; s=f'{root}/step_{S[0]}'; os.makedirs(s,exist_ok=True)
        nm=n+(f'_{c}' if c else ''); open(s+'/module_calls.txt','a').write(nm+'\n'); os.makedirs(s+'/'+nm,exist_ok=True); save(s+'/'+nm,'inputs',args)
    def post(mod,args,out,n):
        c=cnt[n]; nm=n+(f'_{c}' if c else ''); save(f'{root}/step_{S[0]}/{nm}','outputs',out)
    for n,mod in m.named_modules():
        if not n: continue
        mod.register_forward_pre_hook(lambda mod,a,n=n: pre(mod,a,n)); mod.register_forward_hook(lambda mod,a,o,n=n: post(mod,a,o,n))
    def end(*a): S[0]+=1; cnt.clear()
    m.register_forward_hook(end)
    ids=torch.tensor([[0,0,5,9,20],[1,5,9,33,7]]); mask=(ids!=0).long()
    with torch.no_grad():
        try: m.generate(ids,attention_mask=mask,max_new_tokens=4,do_sample=False)
        except Exception as e: print(name,'gen',e)
print(transformers.__version__)
