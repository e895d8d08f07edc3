"""THE list: one line per audit, strings only, so that listing audits imports none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assaymark.errors import AssaymarkError, UnknownName
from assaymark.late import load_object

if TYPE_CHECKING:
    from assaymark.audit import Audit, Mitigation

__all__ = ["AUDITS", "MITIGATIONS", "load_audit", "load_mitigation"]

AUDITS: dict[str, str] = {
    "clip-memorization": "assaymark.audits.clip_memorization.audit:ClipMemorization",
    "encoder-memorization": "assaymark.audits.encoder_memorization.audit:EncoderMemorization",
    "generated-text-prevalence": "assaymark.audits.generated_text_prevalence.audit:GeneratedTextPrevalence",
    "icl-membership": "assaymark.audits.icl_membership.audit:IclMembership",
    "image-offensiveness": "assaymark.audits.image_offensiveness.audit:ImageOffensiveness",
    "image-text-dataset": "assaymark.audits.image_text_dataset.audit:ImageTextDataset",
    "scorer-mixture": "assaymark.audits.scorer_mixture.audit:ScorerMixture",
}

MITIGATIONS: dict[str, str] = {
    "clip-memorization": "assaymark.audits.clip_memorization.mitigate:ForgetfulTraining",
    "encoder-memorization": "assaymark.audits.encoder_memorization.mitigate:MemorizingParts",
    "icl-membership": "assaymark.audits.icl_membership.mitigate:PromptDefence",
    "image-offensiveness": "assaymark.audits.image_offensiveness.mitigate:PromptTuning",
    "image-text-dataset": "assaymark.audits.image_text_dataset.mitigate:FilterRows",
}


def load_audit(audit_id: str) -> type[Audit]:
    if audit_id not in AUDITS:
        raise UnknownName("audit", audit_id, AUDITS)
    found: type[Audit] = load_object(AUDITS[audit_id])
    return found


def load_mitigation(audit_id: str) -> type[Mitigation]:
    if audit_id not in AUDITS:
        raise UnknownName("audit", audit_id, AUDITS)
    if audit_id not in MITIGATIONS:
        raise AssaymarkError(f"{audit_id} has no mitigation; those with one: {', '.join(sorted(MITIGATIONS))}")
    found: type[Mitigation] = load_object(MITIGATIONS[audit_id])
    return found
