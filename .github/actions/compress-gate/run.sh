#!/usr/bin/env bash
# Run compress and end with its exit code. Reads MODEL, POLICY, PROJECT, RUN, ARGUMENTS (one a line)
# and FAIL_ON_UNDECIDED (true or false); an empty one counts as not given.
set -euo pipefail

stop() {
  echo "::error title=compress-gate::$1"
  exit 2
}

[[ -n ${MODEL:-} ]] || stop "the input model is empty; give the path of a model"
[[ -n ${POLICY:-} ]] || stop "the input policy is empty; give a built-in policy or a .yaml file"
undecided_fails=${FAIL_ON_UNDECIDED:-true}
[[ $undecided_fails == true || $undecided_fails == false ]] ||
  stop "the input fail-on-undecided is true or false, nothing else"

outputs=${GITHUB_OUTPUT:-$(mktemp)}

# With "=" and after "--", what begins with a dash is a value and no option.
words=("--policy=$POLICY")
[[ -z ${PROJECT:-} ]] || words+=("--project=$PROJECT")
[[ -z ${RUN:-} ]] || words+=("--run=$RUN")
while IFS= read -r word; do
  [[ -z $word ]] || words+=("$word")
done <<<"${ARGUMENTS:-}"

code=0
GITHUB_OUTPUT=$outputs compress run "${words[@]}" -- "$MODEL" || code=$?
echo "exit-code=$code" >>"$outputs"

# "--help" among the arguments ends with 0 as well, and accepts nothing.
if [[ $code == 0 ]] && ! grep -qx "verdict=accepted" "$outputs"; then
  stop "compress ended with 0 but gave no verdict; look at the input arguments"
fi
if [[ $code == 4 && $undecided_fails == false ]]; then
  echo "::warning title=compress-gate::undecided, which fail-on-undecided lets pass"
  exit 0
fi
exit "$code"
